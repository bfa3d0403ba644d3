"""The fields of the TIC clusters of professional sites, in index order, as tic.toml says.

`ICE` is cluster 0053, by the low octet of the attribute: general (00), the period that runs (01), the one
before (02). `CJE` is cluster 0055, `PME_PMI` cluster 0057.
"""

from decoders.watteco.tic_fields import TABLE, fields_of

ICE = {int(attribute, 16): fields_of(fields) for attribute, fields in TABLE["ice"].items()}
CJE, PME_PMI = fields_of(TABLE["cje"]), fields_of(TABLE["pme_pmi"])
