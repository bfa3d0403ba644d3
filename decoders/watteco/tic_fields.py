"""Watteco's TIC field types, and Linky's fields in index order (docs/decoders-formats.md, "nke Watteco").

`STANDARD` is cluster 0056 (Linky, standard mode), `HISTORIQUE` cluster 0054 (Linky and blue meters,
historique mode). The labels are in tic.toml.
"""

from enum import Enum, auto
from typing import NamedTuple

from decoders.tables import read_table


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


def fields_of(lines: str) -> tuple[TicField, ...]:
    """Fields in their order: on each line a kind, and the labels that are written so."""
    split = [line.split() for line in lines.strip().splitlines()]
    return tuple(TicField(label, Kind[kind]) for kind, *labels in split for label in labels)


TABLE = read_table("watteco/tic.toml")
HISTORIQUE, STANDARD = fields_of(TABLE["historique"]), fields_of(TABLE["standard"])
CONTRACTS, PERIODS, WORDS = (tuple[str, ...](TABLE["codes"][name]) for name in ("contracts", "periods", "words"))
