"""The TIC clusters: descriptors, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoders.canonical import MalformedPayload
from decoders.linky import Dated, MeterDate, TicValue
from decoders.watteco.codecs import TIC
from decoders.watteco.tic_fields import (
    CONTRACTS,
    DATED_SIZES,
    HISTORIQUE,
    INTEGER_SIZES,
    PERIODS,
    STANDARD,
    Kind,
    TicField,
)
from services.simulator.payloads import watteco as device

NOW = 1_795_597_200_000_000
TEXT = st.text(st.characters(codec="latin-1", exclude_characters="\0"), max_size=16)
DATES = st.builds(
    MeterDate,
    st.sampled_from("EHeh "),
    st.integers(0, 99),
    st.integers(0, 12),
    st.integers(0, 31),
    st.integers(0, 23),
    st.integers(0, 59),
    st.integers(0, 59),
)
BLOCKS = st.builds(
    lambda hour, minute, action: {"from": f"{hour:02d}:{minute:02d}", "action": action.hex()},
    st.integers(0, 23),
    st.integers(0, 59),
    st.binary(min_size=2, max_size=2),
)


VALUES: dict[Kind, st.SearchStrategy[TicValue]] = {
    Kind.DATE: DATES,
    Kind.CONTRACT: st.sampled_from(CONTRACTS) | TEXT,
    Kind.PERIOD: st.sampled_from(PERIODS) | TEXT,
    Kind.CHARACTER: st.characters(codec="latin-1"),
    Kind.DAY_PROFILE: st.lists(BLOCKS, max_size=11),
}


def value_of(kind: Kind) -> st.SearchStrategy[TicValue]:
    if kind in INTEGER_SIZES or kind is Kind.STATUS:
        return st.integers(0, 2 ** (8 * INTEGER_SIZES.get(kind, 4)) - 1)
    if kind in DATED_SIZES:
        return st.builds(Dated, DATES, st.integers(0, 2 ** (8 * DATED_SIZES[kind]) - 1))
    return VALUES.get(kind, TEXT)


def frames(table: tuple[TicField, ...], most: int) -> st.SearchStrategy[dict[str, TicValue]]:
    chosen = st.lists(st.sampled_from(table), unique=True, max_size=most)
    return chosen.flatmap(
        lambda fields: st.fixed_dictionaries({field.label: value_of(field.kind) for field in fields})
    )


def as_kept(value: TicValue) -> object:
    match value:
        case MeterDate():
            return value.text()
        case Dated(date=date, value=number):
            return {"date": date.text(), "value": number}
        case _:
            return value


@given(frames(STANDARD, 30), st.booleans(), st.integers(0, 255))
def test_reads_back_every_label_of_the_standard_mode(
    fields: dict[str, TicValue], as_list: bool, instance: int
) -> None:
    decoded = TIC.decode(125, device.tic_standard(fields, instance, as_list=as_list), NOW, {})

    assert {label: as_kept(value) for label, value in fields.items()} == decoded.data["tic"]
    assert (decoded.data["mode"], decoded.data["instance"]) == ("standard", instance)


@given(frames(HISTORIQUE, 30), st.booleans())
def test_reads_back_every_label_of_the_historique_mode(fields: dict[str, TicValue], as_list: bool) -> None:
    decoded = TIC.decode(125, device.tic_historique(fields, as_list=as_list), NOW, {})

    assert fields == decoded.data["tic"]
    assert decoded.data["mode"] == "historique"


@pytest.mark.parametrize(
    ("octets", "rule"),
    [
        ("110a0055000041022101", "0055 \\(CJE\\) n'est pas encore décodé"),
        ("110a0056010141022101", "n'est pas une trame TIC"),
        ("110a00560100210001", "n'est pas une trame TIC"),
        ("110a0056010041020500", "s'arrêtent dans le descripteur"),
        ("110a00560100410422050001", "s'arrêtent dans EAST"),
        ("110a005601004103224701", "le champ TIC 71 n'existe pas"),
        ("110a005601004103220502", "s'arrêtent dans EAST"),
        ("110a0056010041072242021f", "demande 7 octets"),
        ("110a00560100410422420203", "octets après le dernier champ TIC : 03"),
        ("110a00560100410423050400", "ne sont pas croissants"),
        ("110a005601004103220045", "ADSC n'a pas d'octet nul"),
        ("110a005601004103220450", "code TIC 80 de LTARF"),
    ],
)
def test_refuses_data_that_the_descriptor_does_not_explain(octets: str, rule: str) -> None:
    with pytest.raises(MalformedPayload, match=rule):
        TIC.decode(125, bytes.fromhex(octets), NOW, {})


def test_makes_no_reading_of_a_frame_that_the_module_calls_obsolete() -> None:
    octets = bytearray(device.tic_historique({"PAPP": 750}, as_list=True))
    octets[8] |= 0x80

    decoded = TIC.decode(125, bytes(octets), NOW, {})

    assert decoded.readings == []
    assert decoded.data["tic"] == {"PAPP": 750}
    assert decoded.warnings == ["trame TIC périmée : le module ne reçoit plus le compteur"]


def test_keeps_the_causes_of_an_alarm_as_octets() -> None:
    octets = bytearray(device.tic_historique({"PAPP": 750}) + bytes.fromhex("a0d020000002ee0000000001"))
    octets[1] = 0x8A

    decoded = TIC.decode(125, bytes(octets), NOW, {})

    assert [reading.value for reading in decoded.readings] == [750.0]
    assert decoded.data["causes_octets"] == "a0d020000002ee0000000001"
    assert "rapport d'alarme" in decoded.warnings
