"""Raw TIC against frames that meters have sent, and against a meter of the test's."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.model.quantities import QUANTITIES
from decoders.canonical import MalformedPayload, Reading
from decoders.teleinfo import CODEC
from integrations.lns.adapters import generic
from integrations.lns.lns_uplink import LnsMessage, LnsUplink
from tests.decoders.tic_labels import FORMS, NAMES, Label, read_labels
from tests.decoders.vectors import read_vectors
from tests.each import each

VECTORS = read_vectors("linky")
NOW = 1_795_597_200_000_000  # 2026-11-25T09:00:00Z
ADDRESS = "021728031819"
HEXADECIMAL = ("STGE", "PPOT")
DAY_PROFILE = "06000001 NONUTILE NONUTILE"
NUMBERS = st.integers(0, 999_999_999)


def historique(**fields: str) -> bytes:
    """A frame of the historique mode: the checksum is of label, separator and value."""
    groups = [f"{label} {value}" for label, value in {"ADCO": ADDRESS, **fields}.items()]
    return frame(f"{group} {sign(group)}" for group in groups)


def standard(fields: dict[str, str | tuple[str, str]]) -> bytes:
    """A frame of the standard mode: the checksum is of everything before it."""
    groups = [
        f"{label}\t{value}\t" if isinstance(value, str) else f"{label}\t{value[0]}\t{value[1]}\t"
        for label, value in {"ADSC": ADDRESS, **fields}.items()
    ]
    return frame(group + sign(group) for group in groups)


def sign(text: str) -> str:
    total = 0
    for character in text:
        total = (total + ord(character)) % 64
    return chr(32 + total)


def frame(groups: Any) -> bytes:
    return ("\x02" + "".join(f"\n{group}\r" for group in groups) + "\x03").encode("ascii")


def readings(payload: bytes, **options: Any) -> dict[tuple[str, str], float]:
    decoded = CODEC.decode(1, payload, NOW, options)
    return {(reading.channel, reading.quantity): reading.value for reading in decoded.readings}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["id"]))
def test_decodes_the_vector_as_its_file_says(vector: dict[str, Any]) -> None:
    payload, expected = bytes.fromhex(vector["bytes_hex"]), vector["expected"]

    decoded = CODEC.decode(vector["f_port"], payload, vector["time_us"], vector["options"])

    assert [Reading(*reading) for reading in expected["readings"]] == decoded.readings
    assert expected["data"] == decoded.data
    assert expected["warnings"] == decoded.warnings
    values = {(reading.channel, reading.quantity): reading.value for reading in decoded.readings}
    assert {
        (channel, quantity): value for channel, quantity, value in vector["published"]
    }.items() <= values.items()


def group_of(label: Label) -> str:
    """The label with its value of `FORMS` in characters, as a meter sends it."""
    number = FORMS[label.form][2]
    if label.form == "day_profile":
        value = DAY_PROFILE
    elif label.form == "date":
        value = ""
    elif number is None:
        value = label.shown
    else:
        value = f"{number:X}" if label.name in HEXADECIMAL else f"{number:05d}"
    if label.mode == "historique":
        group = f"{label.name} {value}"
        return f"{group} {sign(group)}"
    date = "H261125093000\t" if label.form.startswith("date") else ""
    group = f"{label.name}\t{date}{value}\t"
    return group + sign(group)


@each([label for label in read_labels() if label.mode in ("historique", "standard")])
def test_a_frame_of_one_label_is_read_as_that_label(label: Label) -> None:
    decoded = CODEC.decode(1, frame([group_of(label)]), NOW, {})

    assert decoded.data["tic"] == {label.name: DAY_PROFILE if label.form == "day_profile" else label.shown}
    assert (decoded.data["mode"], decoded.data.get("unread")) == (label.mode, None)
    assert {name: decoded.data[name] for name in NAMES if name in decoded.data} == label.named()
    assert decoded.readings == label.readings()


def test_both_modes_of_one_meter_give_the_same_readings() -> None:
    old = historique(HCHC="004070290", HCHP="006438891", IINST="004", PAPP="01090", ISOUSC="45", PTEC="HC..")
    new = standard(
        {
            "EASF01": "004070290",
            "EASF02": "006438891",
            "IRMS1": "004",
            "SINSTS": "01090",
            "PREF": "09",
            "LTARF": "HC",
        }
    )

    in_both = readings(new, tariff="hphc")

    assert in_both.items() <= readings(old).items()
    assert in_both == {
        ("hc", "active_energy_import"): 4070290.0,
        ("hp", "active_energy_import"): 6438891.0,
        ("phase_a", "current"): 4.0,
        ("", "apparent_power"): 1090.0,
        ("", "subscribed_power"): 9.0,
    }
    assert (
        CODEC.decode(1, old, NOW, {}).data["tariff_period"] == CODEC.decode(1, new, NOW, {}).data["tariff_period"]
    )


@given(st.fixed_dictionaries(dict.fromkeys(("BASE", "IINST1", "IINST2", "IINST3", "PMAX", "PAPP"), NUMBERS)))
def test_reads_back_a_frame_of_the_historique_mode(fields: dict[str, int]) -> None:
    payload = historique(**{label: f"{number:09d}" for label, number in fields.items()})

    decoded = CODEC.decode(1, payload, NOW, {})

    assert {"ADCO": ADDRESS, **fields} == decoded.data["tic"]
    assert decoded.data["mode"] == "historique"
    assert decoded.warnings == []


@given(
    st.fixed_dictionaries(dict.fromkeys(("EAST", "EASF01", "EAIT", "ERQ1", "SINSTS", "URMS2"), NUMBERS)),
    st.dictionaries(st.sampled_from(["SMAXSN", "CCASN", "CCASN-1", "UMOY1"]), st.integers(0, 99_999)),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=32),
)
def test_reads_back_a_frame_of_the_standard_mode(
    numbers: dict[str, int], dated: dict[str, int], text: str
) -> None:
    date = "H261125093000"
    payload = standard(
        {
            **{label: f"{number:09d}" for label, number in numbers.items()},
            **{label: (date, f"{number:05d}") for label, number in dated.items()},
            "MSG1": text,
        }
    )

    decoded = CODEC.decode(1, payload, NOW, {})

    tic = decoded.data["tic"]
    assert {label: tic[label] for label in numbers} == numbers
    assert {label: tic[label]["value"] for label in dated} == dated
    assert tic["MSG1"] == text
    at_us = 1_795_595_400_000_000  # 2026-11-25T09:30+01:00
    assert {reading.time_us for reading in decoded.readings if reading.channel == "load_curve"} <= {at_us}


@pytest.mark.parametrize(
    ("date", "at_us", "warned"),
    [
        ("H261125095959", NOW - 1_000_000, False),  # An hour later than UTC, in winter.
        ("E260725110000", 1_784_970_000_000_000, False),
        ("h261125095959", NOW, False),  # A degraded clock says nothing.
        (" 000000000000", NOW, False),
        ("H271125095959", NOW, True),
    ],
)
def test_readings_of_the_standard_mode_are_at_the_meter_s_date(date: str, at_us: int, warned: bool) -> None:
    decoded = CODEC.decode(1, standard({"DATE": (date, ""), "EAST": "000000001"}), NOW, {})

    assert decoded.readings == [Reading(at_us, "", "active_energy_import", 1.0)]
    assert bool(decoded.warnings) == warned


def test_leaves_out_a_group_whose_checksum_is_wrong() -> None:
    payload = historique(BASE="000000001", PAPP="00750").replace(b"00750 -", b"00751 -")

    decoded = CODEC.decode(1, payload, NOW, {})

    assert [reading.quantity for reading in decoded.readings] == ["active_energy_import"]
    assert decoded.warnings == ["1 groupes TIC à la somme de contrôle fausse, écartés"]


@given(st.data())
def test_one_wrong_character_never_makes_a_wrong_value(data: st.DataObject) -> None:
    """Six bits of checksum see every single wrong character, but for those 64 apart."""
    payload = bytearray(historique(BASE="004070290"))
    sound = CODEC.decode(1, bytes(payload), NOW, {}).readings
    place = data.draw(st.integers(payload.index(b"BASE"), len(payload) - 4))
    wrong = data.draw(st.integers(0x20, 0x7E).filter(lambda octet: (octet - payload[place]) % 64))
    payload[place] = wrong

    assert CODEC.decode(1, bytes(payload), NOW, {}).readings in ([], sound)


@pytest.mark.parametrize("cut", ["\x04", ""])
def test_keeps_the_sound_groups_of_a_frame_that_was_interrupted(cut: str) -> None:
    payload = historique(BASE="000000001", PAPP="00750")
    interrupted = payload[: payload.index(b"PAPP") + 5] + cut.encode()

    decoded = CODEC.decode(1, interrupted, NOW, {})

    assert [reading.quantity for reading in decoded.readings] == ["active_energy_import"]
    assert decoded.warnings == ["aucune trame TIC entière : ses groupes justes sont retenus"]


def test_a_whole_frame_is_worth_more_than_the_beginning_of_the_next() -> None:
    payload = historique(PAPP="00750") + historique(PAPP="00760")[:-4]

    assert readings(payload) == {("", "apparent_power"): 750.0}


def test_a_short_frame_does_not_hide_what_the_long_one_said() -> None:
    long = historique(BASE="000000001", IINST1="001", IINST2="002", IINST3="003", PAPP="00750")
    short = historique(ADIR1="035", IINST1="035", IINST2="002", IINST3="003")

    values = readings(long + short)

    assert values["", "active_energy_import"] == 1.0
    assert values["phase_a", "current"] == 35.0


def test_rejects_frames_of_two_meters() -> None:
    other = historique(PAPP="00750").replace(b"ADCO 021728031819", b"ADCO 021728031828")  # The same checksum.

    with pytest.raises(MalformedPayload, match="deux compteurs, 021728031819 et 021728031828"):
        CODEC.decode(1, historique(BASE="000000001") + other, NOW, {})


def test_comes_in_as_the_payload_of_a_generic_message() -> None:
    message = {"device": "867648041234567", "id": "m-17", "payload": historique(PAPP="00750").hex()}

    uplink = generic.read(LnsMessage(json.dumps(message).encode()))

    assert isinstance(uplink, LnsUplink)
    assert CODEC.decode(uplink.f_port, uplink.payload, NOW, {}).readings == [
        Reading(NOW, "", "apparent_power", 750.0)
    ]


@pytest.mark.parametrize("payload", [b"", b"\x02\x03", b"\nADCO 021728031819 x\r", b"bonjour", historique()[:-6]])
def test_rejects_what_has_no_sound_group(payload: bytes) -> None:
    with pytest.raises(MalformedPayload, match="aucun groupe TIC"):
        CODEC.decode(1, payload, NOW, {})


@given(st.lists(st.sampled_from([b"\x02", b"\x03", b"\x04", b"\n", b"\r", b"\t", b" "]) | st.binary(max_size=9)))
def test_arbitrary_octets_raise_only_malformed_payload(parts: list[bytes]) -> None:
    try:
        CODEC.decode(1, b"".join(parts), NOW, {})
    except MalformedPayload:
        return


LABELS = st.from_regex(r"[A-Z][A-Z0-9+-]{2,8}", fullmatch=True) | st.sampled_from(
    ["EASF99", "DATE", "SMAXSN", "STGE"]
)
TEXTS = st.text(
    st.characters(min_codepoint=1, max_codepoint=127, exclude_characters="\n\r\t\x02\x03\x04"), max_size=20
)


@given(st.dictionaries(LABELS, TEXTS | st.tuples(TEXTS, TEXTS), min_size=1))
def test_sound_groups_of_any_label_raise_only_malformed_payload(fields: dict[str, Any]) -> None:
    try:
        decoded = CODEC.decode(1, standard(fields), NOW, {"tariff": "tempo"})
    except MalformedPayload:
        return

    json.dumps(decoded.data, allow_nan=False)
    assert {reading.quantity for reading in decoded.readings} <= QUANTITIES.keys()
