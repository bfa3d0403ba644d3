"""The fields of Watteco's TIC clusters, in index order (reference: codecs.md, section 4.1).

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


INTEGER_SIZES = {Kind.U8: 1, Kind.U16: 2, Kind.U24: 3, Kind.U32: 4}
DATED_SIZES = {Kind.DATED_U8: 1, Kind.DATED_U16: 2, Kind.DATED_U24: 3}


class TicField(NamedTuple):
    """A field's label and how it is written."""

    label: str
    kind: Kind


def _fields(kind: Kind, labels: str) -> list[TicField]:
    return [TicField(label, kind) for label in labels.split()]


HISTORIQUE = (
    *_fields(Kind.U16, "ADIR1 ADIR2 ADIR3"),
    *_fields(Kind.TEXT, "ADCO OPTARIF"),
    *_fields(Kind.U8, "ISOUSC"),
    *_fields(Kind.U32, "BASE HCHC HCHP EJPHN EJPHPM"),
    *_fields(Kind.U32, "BBRHCJB BBRHPJB BBRHCJW BBRHPJW BBRHCJR BBRHPJR"),
    *_fields(Kind.U8, "PEJP"),
    *_fields(Kind.U32, "GAZ AUTRE"),
    *_fields(Kind.TEXT, "PTEC DEMAIN"),
    *_fields(Kind.U16, "IINST IINST1 IINST2 IINST3 ADPS IMAX IMAX1 IMAX2 IMAX3"),
    *_fields(Kind.U32, "PMAX PAPP"),
    *_fields(Kind.CHARACTER, "HHPHC"),
    *_fields(Kind.TEXT, "MOTDETAT"),
    *_fields(Kind.U8, "PPOT"),
)
STANDARD = (
    *_fields(Kind.TEXT, "ADSC"),
    *_fields(Kind.U8, "VTIC"),
    *_fields(Kind.DATE, "DATE"),
    *_fields(Kind.CONTRACT, "NGTF"),
    *_fields(Kind.PERIOD, "LTARF"),
    *_fields(Kind.U32, "EAST EASF01 EASF02 EASF03 EASF04 EASF05 EASF06 EASF07 EASF08 EASF09 EASF10"),
    *_fields(Kind.U32, "EASD01 EASD02 EASD03 EASD04 EAIT ERQ1 ERQ2 ERQ3 ERQ4"),
    *_fields(Kind.U16, "IRMS1 IRMS2 IRMS3 URMS1 URMS2 URMS3"),
    *_fields(Kind.U8, "PREF PCOUP"),
    *_fields(Kind.U24, "SINSTS SINSTS1 SINSTS2 SINSTS3"),
    *_fields(Kind.DATED_U24, "SMAXSN SMAXSN1 SMAXSN2 SMAXSN3 SMAXSN-1 SMAXSN1-1 SMAXSN2-1 SMAXSN3-1"),
    *_fields(Kind.U24, "SINSTI"),
    *_fields(Kind.DATED_U24, "SMAXIN SMAXIN-1 CCASN CCASN-1 CCAIN CCAIN-1"),
    *_fields(Kind.DATED_U16, "UMOY1 UMOY2 UMOY3"),
    *_fields(Kind.STATUS, "STGE"),
    *_fields(Kind.DATED_U8, "DPM1 FPM1 DPM2 FPM2 DPM3 FPM3"),
    *_fields(Kind.TEXT, "MSG1 MSG2 PRM"),
    *_fields(Kind.U8, "RELAIS NTARF NJOURF NJOURF+1"),
    *_fields(Kind.DAY_PROFILE, "PJOURF+1 PPOINTE"),
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
