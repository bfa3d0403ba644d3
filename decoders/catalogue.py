"""Native codecs by name; a device profile names one."""

from collections.abc import Sequence
from importlib.resources import files

from decoders import teleinfo
from decoders.adeunis import comfort, dry_contacts, pulse
from decoders.adeunis import tic as adeunis_tic
from decoders.axioma import w1
from decoders.bosch import tps110
from decoders.cayenne import lpp
from decoders.codec import Codec
from decoders.decentlab import products as decentlab
from decoders.declarative import parse
from decoders.elsys import ers
from decoders.enless import tx as enless
from decoders.fludia import fm432
from decoders.milesight import codecs as milesight
from decoders.pepperl_fuchs import wilsen
from decoders.strega import valve as strega
from decoders.territoire import clock
from decoders.vega import air as vega
from decoders.watteco import codecs as watteco
from decoders.wmbus import codecs as wmbus

# Simple tables, in the language of docs/codec-declaratif.md.
DECLARED = ("dingtek/df702.yaml", "teneo/fill.yaml")
CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        adeunis_tic.CODEC,
        adeunis_tic.PME_PMI,
        comfort.COMFORT,
        comfort.COMFORT_CO2,
        dry_contacts.CODEC,
        pulse.CODEC,
        *decentlab.PRODUCTS,
        ers.CODEC,
        ers.FAMILY,
        lpp.CODEC,
        teleinfo.CODEC,
        enless.CODEC,
        fm432.CODEC,
        strega.CODEC,
        clock.CODEC,
        tps110.CODEC,
        vega.CODEC,
        wilsen.CODEC,
        w1.CODEC,
        *milesight.MILESIGHT_CODECS,
        *watteco.WATTECO_CODECS,
        *wmbus.WMBUS_CODECS,
        *(parse(files("decoders").joinpath(table).read_text("utf-8")) for table in DECLARED),
    )
}


def can_switch(codec: str, capabilities: Sequence[str]) -> bool:
    """Whether devices of a profile obey switching commands; downlinks to them need the right to switch lights."""
    known = CODECS.get(codec)
    return bool(capabilities) or (known is not None and known.switches)
