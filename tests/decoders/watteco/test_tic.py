"""The TIC clusters: descriptors, and what is rejected."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decoders.canonical import MalformedPayload, Reading
from decoders.linky import Dated, MeterDate, Power, TicValue
from decoders.watteco.codecs import TIC
from decoders.watteco.tic_fields import (
    CONTRACTS,
    DATED_SIZES,
    HISTORIQUE,
    INTEGER_SIZES,
    PERIODS,
    STANDARD,
    WORDS,
    Kind,
    TicField,
)
from decoders.watteco.tic_professional import CJE, ICE, PME_PMI
from lab.device.payloads import watteco as device

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


INSTANTS = st.integers(0, 2**32 - 1).map(MeterDate.of_seconds)
SMALL = st.integers(0, 23)
VALUES: dict[Kind, st.SearchStrategy[TicValue]] = {
    Kind.I16: st.integers(-(2**15), 2**15 - 1),
    Kind.SINGLE: st.floats(-100, 100, width=32),
    Kind.NOTHING: st.none(),
    Kind.IDENTIFIER: st.binary(max_size=8).map(bytes.hex),
    Kind.WORD: st.sampled_from(WORDS) | TEXT,
    Kind.LOCAL_DATE: st.builds(
        MeterDate,
        *(st.just(""), st.integers(0, 99), st.integers(1, 12), st.integers(1, 28)),
        *(st.integers(3, 23), st.integers(0, 59), st.integers(0, 59)),
    ),
    Kind.INSTANT: INSTANTS,
    Kind.INSTANT_AND_PERIOD: st.builds(Dated, INSTANTS, st.sampled_from(PERIODS) | TEXT),
    Kind.HOUR_AND_DAY: st.builds("{:02d}/{:02d} {:02d}:{:02d}".format, *[SMALL] * 4),
    Kind.DAY_AND_HOUR: st.builds("{:02d}/{:02d} {:02d}:00".format, *[SMALL] * 3),
    Kind.HOUR: st.builds("{:02d}:{:02d}".format, SMALL, SMALL),
    Kind.POWER_AND_UNIT: st.builds(Power, st.integers(0, 2**24 - 1), st.sampled_from(WORDS)),
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
        case Power(value=number, unit=unit):
            return {"value": number, "unit": unit}
        case _:
            return value


@given(frames(PME_PMI, 30), st.booleans())
def test_reads_back_every_label_of_a_pme_pmi(fields: dict[str, TicValue], as_list: bool) -> None:
    decoded = TIC.decode(125, device.tic_pme_pmi(fields, as_list=as_list), NOW, {})

    assert {label: as_kept(value) for label, value in fields.items()} == decoded.data["tic"]
    assert decoded.data["mode"] == "PME-PMI"


@given(frames(CJE, 30), st.booleans())
def test_reads_back_every_label_of_a_cje(fields: dict[str, TicValue], as_list: bool) -> None:
    decoded = TIC.decode(125, device.tic_cje(fields, as_list=as_list), NOW, {})

    assert fields == decoded.data["tic"]
    assert decoded.data["mode"] == "CJE"


@pytest.mark.parametrize("period", [0, 1, 2])
@given(data=st.data(), as_list=st.booleans())
def test_reads_back_every_label_of_an_ice(period: int, data: st.DataObject, as_list: bool) -> None:
    fields = data.draw(frames(ICE[period], 30))

    decoded = TIC.decode(125, device.tic_ice(fields, period, as_list=as_list), NOW, {})

    assert {label: as_kept(value) for label, value in fields.items()} == decoded.data["tic"]
    assert decoded.data.get("period") == {0: None, 1: "p", 2: "p1"}[period]


def test_an_index_of_a_pme_pmi_belongs_to_the_tariff_that_runs() -> None:
    octets = device.tic_pme_pmi({"PTCOUR1": "HPE", "EAP_s": 430_796, "ER+P_s": 154_794})

    decoded = TIC.decode(125, octets, NOW, {})

    assert decoded.readings == [
        Reading(NOW, "hpe", "active_energy_import", 430_796_000.0),
        Reading(NOW, "hpe", "reactive_energy_import", 154_794_000.0),
    ]


def test_an_index_without_its_tariff_is_kept_and_is_no_reading() -> None:
    decoded = TIC.decode(125, device.tic_pme_pmi({"EAP_s": 430_796}), NOW, {})

    assert decoded.readings == []
    assert decoded.data["tic"] == {"EAP_s": 430_796}
    assert "aucun tarif" in decoded.warnings[0]


def test_a_power_of_ten_minutes_is_read_at_its_own_legal_time() -> None:
    at_nine_in_paris = MeterDate("", 26, 11, 25, 9, 0, 0)

    decoded = TIC.decode(125, device.tic_ice({"DATEPA1": at_nine_in_paris, "PA1": 42}), NOW, {})

    assert decoded.readings == [Reading(NOW - 3_600_000_000, "load_curve", "active_power", 42_000.0)]


def test_the_subscribed_power_of_a_pme_pmi_is_one_in_kva_only() -> None:
    in_kva = TIC.decode(125, device.tic_pme_pmi({"PS": Power(66, "kVA")}), NOW, {})
    in_kw = TIC.decode(125, device.tic_pme_pmi({"PS": Power(66, "kW")}), NOW, {})

    assert in_kva.readings == [Reading(NOW, "", "subscribed_power", 66.0)]
    assert in_kw.readings == []


def test_corrects_the_codes_of_the_modules_that_write_them_one_too_low() -> None:
    octets = bytes.fromhex(
        "110a005700004125488007000000100e06041636028464040c0415093b1a0e27f7e5a000000003f2be0000420b"
    )

    decoded = TIC.decode(125, octets, NOW, {"tic_enumeration_shift": 1})

    assert decoded.data["tic"]["PTCOUR1"] == "HPH"
    assert decoded.data["tic"]["MESURES1"] == "HTA 5     "
    assert decoded.data["tic"]["PS"] == {"value": 66, "unit": "kW"}


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
        ("110a00550000410422010141", "JAUNE_PT n'a pas d'octet nul"),
        ("110a0055000141022101", "n'est pas une trame TIC"),
        ("110a0053000341022101", "n'est pas une trame TIC"),
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
def test_rejects_data_that_the_descriptor_does_not_explain(octets: str, rule: str) -> None:
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
