"""When the readings of a declared frame are."""

import pytest

from decoders.canonical import MalformedPayload, Reading
from decoders.declarative import parse

NOW = 1_795_597_200_000_000  # 2026-11-25T09:00:00Z
MINUTE = 60_000_000
HOUR = 60 * MINUTE


def readings(fields: str, octets: str) -> list[tuple[int, float]]:
    """What these fields read, in minutes from the reception."""
    codec = parse(f"codec: essai\nframes:\n  - fields: [{fields}]")
    decoded = codec.decode(1, bytes.fromhex(octets), NOW, {})
    return [((reading.time_us - NOW) // MINUTE, reading.value) for reading in decoded.readings]


def repeat(time: str, count: str = "rest") -> str:
    return f"{{repeat: {{name: r, count: {count}, time: {{{time}}}, fields: [{{type: u8, quantity: co2}}]}}}}"


TAGGED = """{tlv: {tag: u8, records: {
    1: [{type: u8, time: {ago: min}}, {type: u8, quantity: co2}], 2: [{type: u8, quantity: co2}]
}}}"""


@pytest.mark.parametrize(
    ("fields", "octets", "expected"),
    [
        ("{type: u8, quantity: co2}", "07", [(0, 7)]),
        ("{type: u8, time: {ago: min}}, {type: u8, quantity: co2}", "0507", [(-5, 7)]),
        (
            "{type: u8, quantity: co2}, {type: u8, time: {ago: h}}, {type: u8, quantity: co2}",
            "010203",
            [(0, 1), (-120, 3)],
        ),
        (repeat("step: -10 min"), "010203", [(0, 1), (-10, 2), (-20, 3)]),
        (repeat("first: -30 min, step: 10 min"), "010203", [(-30, 1), (-20, 2), (-10, 3)]),
        (repeat("last: 0, step: 15 min"), "010203", [(-30, 1), (-15, 2), (0, 3)]),
        (repeat("last: -15 min, step: 15 min", "2"), "0102", [(-30, 1), (-15, 2)]),
        ("{type: u8, name: pas}, " + repeat("last: 0, step: pas, unit: min"), "050102", [(-5, 1), (0, 2)]),
        ("{type: u8, name: n_}, " + repeat("step: 1 h", "n_"), "020102", [(0, 1), (60, 2)]),
        (
            "{type: u8, time: {ago: min}}, " + repeat("step: -1 h", "2") + ", {type: u8, quantity: co2}",
            "0A010203",
            [(-10, 1), (-70, 2), (-10, 3)],
        ),
        (
            TAGGED,
            "010507 0208",
            [(-5, 7), (0, 8)],
        ),
    ],
)
def test_dates_each_reading(fields: str, octets: str, expected: list[tuple[int, float]]) -> None:
    assert readings(fields, octets) == expected


@pytest.mark.parametrize(
    ("time", "octets", "at_us"),
    [
        ("unix", "6A15A010", 1_779_802_128_000_000),
        ("unix_ms", "6A15A010", 1_779_802_128_000),
        ("{epoch: 2013-01-01}", "0000003C", 1_356_998_460_000_000),
        ("{epoch: 2013-01-01T01:00:00+01:00, unit: min}", "00000001", 1_356_998_460_000_000),
    ],
)
def test_counts_from_the_declared_epoch(time: str, octets: str, at_us: int) -> None:
    codec = parse(
        f"codec: essai\nframes: [{{fields: [{{type: u32, time: {time}}}, {{type: u8, quantity: co2}}]}}]"
    )

    decoded = codec.decode(1, bytes.fromhex(octets) + b"\x07", NOW, {})

    assert decoded.readings == [Reading(at_us, "", "co2", 7.0)]


def test_says_when_a_number_that_it_needs_was_left_out_by_a_condition() -> None:
    fields = "{type: u8, name: a}, {when: {a: 1}, fields: [{type: u8, name: pas}]}, " + repeat(
        "step: pas, unit: s"
    )

    with pytest.raises(MalformedPayload, match="« pas » n'est pas dans cette trame"):
        readings(fields, "0001")


@pytest.mark.parametrize("octets", ["7ff0000000000000", "7ff8000000000000", "7fefffffffffffff"])
def test_a_number_that_is_none_gives_no_reading(octets: str) -> None:
    fields = "[{type: f64, name: a, quantity: co2, scale: 1e30}]"
    codec = parse(f"codec: essai\nframes: [{{fields: {fields}}}]")

    decoded = codec.decode(1, bytes.fromhex(octets), NOW, {})

    assert (decoded.readings, decoded.data) == ([], {"a": None})
    assert decoded.warnings[0].startswith("a : pas de mesure")


def test_quotation_marks_make_a_text_of_a_number() -> None:
    codec = parse(
        "codec: essai\ncommands: {nommer: {f_port: 1, fields: [{type: ascii, name: nom, size: 4}]}}\n"
        'examples: [{command: nommer, with: {nom: "123"}, payload: "31323300"}]'
    )

    assert codec.commands[0].parameters[0].kind == "text"


def test_reads_no_more_than_two_thousand_readings_of_a_frame() -> None:
    bits = ", ".join("{bits: 0, quantity: co2}" for _ in range(40))
    fields = f"{{repeat: {{name: r, count: rest, fields: [{{type: u8, bits: [{bits}]}}]}}}}"

    assert len(readings(fields, "01" * 50)) == 2_000
    with pytest.raises(MalformedPayload, match="plus de 2000 mesures"):
        readings(fields, "01" * 51)
