"""The fields of the TIC clusters of professional sites, in index order (the vendor's TIC description 1.2).

`ICE` is cluster 0053, by the low octet of the attribute: general (00), the period that runs (01), the one
before (02). `CJE` is cluster 0055, `PME_PMI` cluster 0057. Where a meter gives one label several values,
each field has its own: `ENERG1` to `ENERG6`.
"""

from decoders.watteco.tic_fields import Kind, TicField, fields_of

_TARIFFS = "P PM HCE HCH HH HCD HD JA HPE HPH HPD SCM HM DSM"


def _ice_period(suffix: str) -> tuple[TicField, ...]:
    """Indexes of a period by tariff: active, then reactive drawn (ERP) and given (ERN), each with its date."""
    indexes: list[TicField] = []
    for energy in ("EA", "ERP", "ERN"):
        indexes += fields_of(Kind.LOCAL_DATE, f"DATE{energy}{suffix}")
        indexes += fields_of(Kind.U24, " ".join(f"{energy}{suffix}{tariff}" for tariff in _TARIFFS.split()))
    return (
        *fields_of(Kind.LOCAL_DATE, f"DEBUT{suffix} FIN{suffix}"),
        *fields_of(Kind.U16, f"CAF{suffix}"),
        *indexes,
    )


def _dated_powers(numbers: str, *suffixes: str, date: Kind) -> tuple[TicField, ...]:
    return tuple(
        field
        for number in numbers
        for field in (
            *fields_of(date, f"DATEPA{number}"),
            *fields_of(Kind.U16, " ".join(f"PA{number}{suffix}" for suffix in suffixes)),
        )
    )


ICE = {
    0x00: (
        *fields_of(Kind.TEXT, "CONTRAT"),
        *fields_of(Kind.LOCAL_DATE, "DATECOUR DATE"),
        *fields_of(Kind.U24, "EA ERP"),
        *fields_of(Kind.TEXT, "PTCOUR PREAVIS"),
        *fields_of(Kind.NOTHING, "MODE"),
        *_dated_powers("123456", "", date=Kind.LOCAL_DATE),
        *fields_of(Kind.U24, "p"),
        *fields_of(Kind.U8, "KDC KDCD"),
        *fields_of(Kind.SINGLE, "TGPHI"),
        *fields_of(Kind.U16, "PSP PSPM PSHPH PSHPD PSHCH PSHCD PSHPE PSHCE PSJA PSHH PSHD PSHM PSDSM PSSCM"),
        *fields_of(Kind.NOTHING, "MODE_10MN"),
        *fields_of(Kind.U16, "PA1MN PA10MN"),
        *fields_of(Kind.I16, "PREA1MN PREA10MN"),
        *fields_of(Kind.SINGLE, "TGPHI_10MN"),
        *fields_of(Kind.U16, "U10MN"),
    ),
    0x01: _ice_period("p"),
    0x02: _ice_period("p1"),
}
CJE = (
    *fields_of(Kind.HOUR_AND_DAY, "JAUNE_DATE"),
    *fields_of(Kind.TEXT, "JAUNE_PT JAUNE_DP"),
    *fields_of(Kind.U24, "JAUNE_PUISSANCE"),
    *fields_of(Kind.U8, "JAUNE_KP"),
    *fields_of(Kind.U24, "ENERG1 ENERG2 ENERG3 ENERG4 ENERG5 ENERG6"),
    *fields_of(Kind.DAY_AND_HOUR, "PERCC_DATE"),
    *fields_of(Kind.U8, "PERCC_CG"),
    *fields_of(Kind.U24, "PMAXC1 PMAXC2 PMAXC3 PMAXC4 TDEPA1 TDEPA2 TDEPA3 TDEPA4"),
    *fields_of(Kind.DAY_AND_HOUR, "PERCP_DATE"),
    *fields_of(Kind.U8, "PERCP_CG"),
    *fields_of(Kind.U24, "PMAXP1 PMAXP2 PMAXP3 PMAXP4 PSOUSC1 PSOUSC2 PSOUSC3 PSOUSC4"),
    *fields_of(Kind.U24, "PSOUSP1 PSOUSP2 PSOUSP3 PSOUSP4"),
    *fields_of(Kind.HOUR, "FCOU_HEURE"),
    *fields_of(Kind.U8, "FCOU_DD"),
)
PME_PMI = (
    *fields_of(Kind.WORD, "TRAME"),
    *fields_of(Kind.IDENTIFIER, "ADS"),
    *fields_of(Kind.CONTRACT, "MESURES1"),
    *fields_of(Kind.LOCAL_DATE, "DATE"),
    *fields_of(Kind.U24, "EA_s ER+_s ER-_s EAPP_s EA_i ER+_i ER-_i EAPP_i"),
    *fields_of(Kind.PERIOD, "PTCOUR1"),
    *fields_of(Kind.WORD, "TARIFDYN"),
    *fields_of(Kind.PERIOD, "ETATDYN1 PREAVIS1"),
    *fields_of(Kind.INSTANT_AND_PERIOD, "TDYN1CD TDYN1CF TDYN1FD TDYN1FF"),
    *fields_of(Kind.WORD, "MODE CONFIG"),
    *_dated_powers("1", "_s", "_i", date=Kind.LOCAL_DATE),
    *_dated_powers("23456", "_s", "_i", date=Kind.INSTANT),
    *fields_of(Kind.INSTANT, "DebP"),
    *fields_of(Kind.U24, "EAP_s EAP_i ER+P_s ER-P_s ER+P_i ER-P_i"),
    *fields_of(Kind.INSTANT, "DebP-1 FinP-1"),
    *fields_of(Kind.U24, "EaP-1_s EaP-1_i ER+P-1_s ER-P-1_s ER+P-1_i ER-P-1_i"),
    *fields_of(Kind.POWER_AND_UNIT, "PS"),
    *fields_of(Kind.WORD, "PREAVIS"),
    *fields_of(Kind.U16, "PA1MN"),
    *fields_of(Kind.POWER_AND_UNIT, "PMAX_s PMAX_i"),
    *fields_of(Kind.SINGLE, "TGPHI_s TGPHI_i"),
    *fields_of(Kind.CONTRACT, "MESURES2"),
    *fields_of(Kind.PERIOD, "PTCOUR2 ETATDYN2 PREAVIS2"),
    *fields_of(Kind.INSTANT_AND_PERIOD, "TDYN2CD TDYN2CF TDYN2FD TDYN2FF"),
    *fields_of(Kind.INSTANT, "DebP_2"),
    *fields_of(Kind.U24, "EaP_s2"),
    *fields_of(Kind.INSTANT, "DebP-1_2 FinP-1_2"),
    *fields_of(Kind.U24, "EaP-1_s2 _DDMES1_"),
)
