"""Watteco's TIC field types, and Linky's fields in index order (docs/decoders-formats.md, "nke Watteco").

`STANDARD` is cluster 0056 (Linky, standard mode), `HISTORIQUE` cluster 0054 (Linky and blue meters,
historique mode). Labels are those of Enedis-NOI-CPT_54E and 02E.
"""

from enum import Enum, auto
from typing import NamedTuple


class Kind(Enum):
    """How a field is written."""

    U8 = auto()
    U16 = auto()
    U24 = auto()
    U32 = auto()
    I16 = auto()
    SINGLE = auto()  # IEEE 754, 32 bits.
    CHARACTER = auto()
    TEXT = auto()  # Ends with a NUL.
    DATE = auto()  # Season character, then YY MM DD hh mm ss.
    DATED_U8 = auto()
    DATED_U16 = auto()
    DATED_U24 = auto()
    CONTRACT = auto()  # A code of CONTRACTS below 0x80, else that many characters.
    PERIOD = auto()  # The same with PERIODS.
    STATUS = auto()  # STGE, 32 bits.
    DAY_PROFILE = auto()  # Eleven blocks hh mm SSSS; a block with hh = FF is that octet alone.
    # Of professional meters only. Their dates do not say the season: they are in French legal time.
    NOTHING = auto()  # The label is there, and has no value.
    IDENTIFIER = auto()  # A size, then so many octets, shown in hexadecimal.
    WORD = auto()  # As CONTRACT, with WORDS.
    LOCAL_DATE = auto()  # DD MM YY hh mm ss.
    INSTANT = auto()  # Seconds since 2000-01-01T00:00Z.
    INSTANT_AND_PERIOD = auto()
    HOUR_AND_DAY = auto()  # hh mm DD MM.
    DAY_AND_HOUR = auto()  # DD MM hh.
    HOUR = auto()  # hh mm.
    POWER_AND_UNIT = auto()  # 24 bits, then a WORD.


INTEGER_SIZES = {Kind.U8: 1, Kind.U16: 2, Kind.U24: 3, Kind.U32: 4}
DATED_SIZES = {Kind.DATED_U8: 1, Kind.DATED_U16: 2, Kind.DATED_U24: 3}


class TicField(NamedTuple):
    """A field's label and how it is written."""

    label: str
    kind: Kind


def fields_of(kind: Kind, labels: str) -> list[TicField]:
    """Fields of one kind, from their labels with spaces between."""
    return [TicField(label, kind) for label in labels.split()]


HISTORIQUE = (
    *fields_of(Kind.U16, "ADIR1 ADIR2 ADIR3"),
    *fields_of(Kind.TEXT, "ADCO OPTARIF"),
    *fields_of(Kind.U8, "ISOUSC"),
    *fields_of(Kind.U32, "BASE HCHC HCHP EJPHN EJPHPM"),
    *fields_of(Kind.U32, "BBRHCJB BBRHPJB BBRHCJW BBRHPJW BBRHCJR BBRHPJR"),
    *fields_of(Kind.U8, "PEJP"),
    *fields_of(Kind.U32, "GAZ AUTRE"),
    *fields_of(Kind.TEXT, "PTEC DEMAIN"),
    *fields_of(Kind.U16, "IINST IINST1 IINST2 IINST3 ADPS IMAX IMAX1 IMAX2 IMAX3"),
    *fields_of(Kind.U32, "PMAX PAPP"),
    *fields_of(Kind.CHARACTER, "HHPHC"),
    *fields_of(Kind.TEXT, "MOTDETAT"),
    *fields_of(Kind.U8, "PPOT"),
)
STANDARD = (
    *fields_of(Kind.TEXT, "ADSC"),
    *fields_of(Kind.U8, "VTIC"),
    *fields_of(Kind.DATE, "DATE"),
    *fields_of(Kind.CONTRACT, "NGTF"),
    *fields_of(Kind.PERIOD, "LTARF"),
    *fields_of(Kind.U32, "EAST EASF01 EASF02 EASF03 EASF04 EASF05 EASF06 EASF07 EASF08 EASF09 EASF10"),
    *fields_of(Kind.U32, "EASD01 EASD02 EASD03 EASD04 EAIT ERQ1 ERQ2 ERQ3 ERQ4"),
    *fields_of(Kind.U16, "IRMS1 IRMS2 IRMS3 URMS1 URMS2 URMS3"),
    *fields_of(Kind.U8, "PREF PCOUP"),
    *fields_of(Kind.U24, "SINSTS SINSTS1 SINSTS2 SINSTS3"),
    *fields_of(Kind.DATED_U24, "SMAXSN SMAXSN1 SMAXSN2 SMAXSN3 SMAXSN-1 SMAXSN1-1 SMAXSN2-1 SMAXSN3-1"),
    *fields_of(Kind.U24, "SINSTI"),
    *fields_of(Kind.DATED_U24, "SMAXIN SMAXIN-1 CCASN CCASN-1 CCAIN CCAIN-1"),
    *fields_of(Kind.DATED_U16, "UMOY1 UMOY2 UMOY3"),
    *fields_of(Kind.STATUS, "STGE"),
    *fields_of(Kind.DATED_U8, "DPM1 FPM1 DPM2 FPM2 DPM3 FPM3"),
    *fields_of(Kind.TEXT, "MSG1 MSG2 PRM"),
    *fields_of(Kind.U8, "RELAIS NTARF NJOURF NJOURF+1"),
    *fields_of(Kind.DAY_PROFILE, "PJOURF+1 PPOINTE"),
)

_COMMON = ("!?!", "*", "")
CONTRACTS = (
    *_COMMON,
    *("BT 4 SUP36", "BT 5 SUP36", "HTA 5     ", "HTA 8     "),
    *("TJ EJP    ", "TJ EJP-HH ", "TJ EJP-PM ", "TJ EJP-SD ", "TJ LU     "),
    *("TJ LU-CH  ", "TJ LU-P   ", "TJ LU-PH  ", "TJ LU-SD  ", "TJ MU     "),
    *("TV A5 BASE", "TV A8 BASE"),
    *("BASE", "H PLEINE-CREUSE", "HPHC", "HC", "HC et Week-End", "EJP", "PRODUCTEUR"),
)
PERIODS = (
    *_COMMON,
    *(" ? ", "000", "HC", "HCD", "HCE", "HCH", "HH", "HH ", "HP", "HP ", "HPD", "HPE", "HPH"),
    *("JA", "JA ", "P", "P  ", "PM", "PM ", "XXX", "INDEX NON CONSO", "BASE"),
    *("HEURE CREUSE", "HEURE PLEINE", "HEURE NORMALE", "HEURE POINTE"),
    *("HC BLEU", "BUHC", "HP BLEU", "BUHP", "HC BLANC", "BCHC", "HP BLANC", "BCHP"),
    *("HC ROUGE", "RHC", "HP ROUGE", "RHP", "HEURE WEEK-END"),
)
WORDS = (
    *_COMMON,
    *(" ACTIF", "ACTIF", "CONSO", "CONTROLE", "DEP", "INACTIF", "PROD", "TEST", "kVA", "kW"),
)
