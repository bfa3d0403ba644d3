"""The open clock profile: what docs/profil-horloge.md shows is what is written and read, and nothing else."""

import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.model.lighting import LampPlace, Schedule, Switching
from core.model.lighting_programs import read_program
from core.model.quantities import QUANTITIES
from core.model.region import region_of
from decoders.canonical import MalformedPayload
from decoders.codec import UnsupportedCommand
from decoders.territoire.clock import CODEC, NO_PROGRAM, PROGRAM_PORT, STATE_PORT
from decoders.territoire.clock_program import (
    LARGEST,
    SUMMER_TIMES,
    ClockProgram,
    ClockRule,
    Days,
    hash_of,
    read_clock_program,
)
from lab.device.payloads import clock as wire
from lighting.compilers import compile_program

PROFILE = (Path(__file__).parents[3] / "docs" / "profil-horloge.md").read_text("utf-8")
NOW = 1_795_902_305_000_000


def _examples() -> list[tuple[dict[str, Any], bytes]]:
    found = re.findall(r"^```json\n(.*?)^```.*?^```octets\n(.*?)^```", PROFILE, re.DOTALL | re.MULTILINE)
    return [
        (json.loads(said), bytes.fromhex("".join(line.split("   ")[0] for line in octets.splitlines())))
        for said, octets in found
    ]


EXAMPLES = _examples()


def encode(name: str, **parameters: Any) -> tuple[int, bytes]:
    assert CODEC.encode is not None
    encoded = CODEC.encode(name, parameters)
    return encoded.f_port, encoded.payload


def test_the_profile_s_examples_are_what_is_written_and_read() -> None:
    kinds = [next(iter(said)) for said, _ in EXAMPLES]
    assert kinds == ["program", "program", "program", "command", "command", "command", "received"]
    for said, octets in EXAMPLES:
        match said:
            case {"program": document, "department": department, "hash": named}:
                region = region_of(department, "Europe/Paris")
                place = LampPlace(said.get("latitude"), said.get("longitude"), region)
                compiled = compile_program(CODEC.name, read_program(document), place, date(2026, 11, 28))
                assert [payload.payload.hex(" ") for payload in compiled.payloads] == [octets.hex(" ")]
                assert compiled.program_hash == hash_of(octets) == bytes.fromhex(named)
            case {"command": name, "parameters": parameters}:
                assert encode(name, **parameters)[1].hex(" ") == octets.hex(" ")
            case {"received": seconds, "readings": readings, "data": data}:
                decoded = CODEC.decode(STATE_PORT, octets, seconds * 1_000_000, {})
                assert {
                    f"{one.quantity} {one.channel}".rstrip(): one.value for one in decoded.readings
                } == readings
                assert decoded.data == data
            case _:
                pytest.fail(f"an example of no kind: {said}")


MINUTES = st.integers(0, 1439)
SWITCHINGS = st.builds(Switching, st.none(), MINUTES) | st.builds(
    Switching, st.sampled_from(["sunset", "sunrise"]), st.integers(-720, 720)
)
SCHEDULES = st.none() | st.builds(
    Schedule,
    SWITCHINGS,
    SWITCHINGS,
    st.none() | st.tuples(MINUTES, MINUTES).filter(lambda cut: cut[0] != cut[1]),
    st.dictionaries(MINUTES, st.integers(1, 20), max_size=4).map(
        lambda steps: tuple(
            (minute, steps[minute] * 5.0) for minute in sorted(steps, key=lambda one: (one - 720) % 1440)
        )
    ),
)
MONTH_DAYS = st.dates(date(2024, 1, 1), date(2024, 12, 31)).map(lambda day: (day.month, day.day))
RULES = st.builds(
    ClockRule,
    st.just(0),
    st.none() | st.tuples(MONTH_DAYS, MONTH_DAYS),
    st.none() | st.frozensets(st.integers(0, 6), min_size=1),
    st.booleans(),
    st.none()
    | st.lists(
        st.builds(Days, st.dates(date(2020, 1, 1), date(2083, 12, 31)), st.integers(1, 255)), max_size=3
    ).map(tuple),
).filter(lambda rule: rule != ClockRule(0))
PROGRAMS = st.builds(
    ClockProgram,
    st.lists(SCHEDULES, min_size=1, max_size=3).map(tuple),
    st.lists(RULES, max_size=3).map(tuple),
    st.none() | st.tuples(st.integers(-9_000, 9_000), st.integers(-18_000, 18_000)),
    st.integers(-48, 56).map(lambda quarters: quarters * 15),
    st.sampled_from(SUMMER_TIMES),
    st.booleans(),
    st.integers(1, 200),
)


@settings(max_examples=60)
@given(PROGRAMS)
def test_a_clock_made_from_the_document_alone_reads_the_program_that_was_written(program: ClockProgram) -> None:
    octets = program.to_bytes()
    if len(octets) > LARGEST:
        with pytest.raises(MalformedPayload, match="48 octets"):
            read_clock_program(octets)
        return

    held = wire.read_program(octets)

    assert read_clock_program(octets) == program
    assert encode("set_program", program=octets.hex()) == (PROGRAM_PORT, octets)
    assert (held.standard_minutes, SUMMER_TIMES[held.summer]) == (program.utc_offset_minutes, program.summer_time)
    assert held.good_friday == program.good_friday
    assert held.coefficient == program.coefficient / 200
    position = None if held.latitude is None or held.longitude is None else (held.latitude, held.longitude)
    assert position == (program.position and (program.position[0] / 100, program.position[1] / 100))
    for night, schedule in zip(held.nights, program.schedules, strict=True):
        assert night.lit == (schedule is not None)
        if schedule is not None:
            assert [night.on, night.off] == [
                (one.event or "clock", one.minutes) for one in (schedule.on, schedule.off)
            ]
            assert (night.cut, night.steps) == (schedule.cut, schedule.dimming)
    for rule, ours in zip(held.rules, program.rules, strict=True):
        days = None if ours.days is None else tuple((one.first, one.count) for one in ours.days)
        assert (rule.night, rule.period, rule.holidays) == (ours.schedule, ours.period, ours.public_holidays)
        assert (rule.weekdays, rule.days) == (ours.weekdays, days)


@settings(max_examples=150)
@given(st.sampled_from([octets for said, octets in EXAMPLES if "program" in said]), st.data())
def test_a_damaged_program_is_refused_or_is_another_s_only_form(octets: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(octets) - 1))
    damaged = octets[:at] + data.draw(st.binary(max_size=3)) + octets[at + data.draw(st.integers(0, 2)) :]
    try:
        program = read_clock_program(damaged)
    except MalformedPayload:
        with pytest.raises(UnsupportedCommand):
            encode("set_program", program=damaged.hex())
        return

    assert program.to_bytes() == damaged


@pytest.mark.parametrize(
    ("f_port", "octets"),
    [
        (62, ""),
        (62, "2b2a01e352aa1e6b0b4b63c2020032"),  # Power and energy are missing.
        (62, "2b2a01e352aa1e6b0b4b63020200320004e2"),  # They are not announced.
        (62, "2b2a01e352aa1e6b0b4b63000200"),  # No circuit.
        (62, "2b2a01e352aa1e6b0b4b63090200" + 8 * "00"),
        (62, "2b2a01e352aa1e6b0b4b63010200"),  # A relay of a circuit that there is not.
        (62, "2b2a01e352aa1e6b0b4b63010165"),  # 101 %.
        (61, ""),
        (61, "02"),
        (1, "00"),
    ],
)
def test_rejects_what_is_no_state_and_no_program(f_port: int, octets: str) -> None:
    with pytest.raises(MalformedPayload):
        CODEC.decode(f_port, bytes.fromhex(octets), NOW, {})


@given(st.sampled_from([PROGRAM_PORT, STATE_PORT]), st.binary(max_size=3), st.binary(max_size=51))
def test_arbitrary_octets_raise_only_malformed_payload(f_port: int, begin: bytes, octets: bytes) -> None:
    for payload in (octets, begin + EXAMPLES[-1][1][len(begin) :], b"\x01\x04\x10" + octets):
        try:
            decoded = CODEC.decode(f_port, payload, NOW, {})
        except MalformedPayload:
            continue
        json.dumps(decoded.data, allow_nan=False)
        assert {reading.quantity for reading in decoded.readings} <= QUANTITIES.keys()


def test_a_clock_that_nobody_has_set_says_no_offset_and_a_program_can_be_asked_for() -> None:
    decoded = CODEC.decode(STATE_PORT, bytes.fromhex("800000" + 8 * "00" + "010164"), NOW, {})
    values = {reading.quantity: reading.value for reading in decoded.readings}

    assert "clock_offset" not in values
    assert (values["clock_valid"], values["switch_state"], values["light_output"]) == (0, 1, 100)
    assert (decoded.data["clock"], decoded.data["program_hash"], decoded.data["fallback"]) == (None, None, True)
    assert [encode("read_state")[1], encode("read_program")[1]] == [b"\x01", b"\x02"]
    octets = EXAMPLES[0][1]
    assert CODEC.decode(PROGRAM_PORT, octets, NOW, {}).data["program_hash"] == "e352aa1e"
    assert CODEC.decode(PROGRAM_PORT, NO_PROGRAM, NOW, {}).data == {"program": None, "program_hash": None}


@pytest.mark.parametrize(
    ("command", "parameters", "reason"),
    [
        ("override", {"sequence": 256, "level": 0, "minutes": 60, "until": 1_795_908_600}, "de 0 à 255"),
        ("override", {"sequence": 1, "level": 0, "minutes": 721, "until": 1_795_908_600}, "de 1 à 720"),
        ("override", {"sequence": 1, "level": 101, "minutes": 60, "until": 1_795_908_600}, "de 0 à 100"),
        ("override", {"sequence": 1, "level": 0, "minutes": 60}, "obligatoire"),
        ("override", {"sequence": 1, "circuit": 9, "level": 0, "minutes": 1, "until": 1_795_908_600}, "de 0 à 8"),
        ("set_program", {"program": "zz"}, "hexadécimal"),
        ("set_program", {"program": "02"}, "format 2 inconnu"),
        ("switch_off", {}, "ne connaît pas"),
    ],
)
def test_rejects_what_a_clock_cannot_be_asked(command: str, parameters: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnsupportedCommand, match=reason):
        encode(command, **parameters)


def test_the_first_and_last_days_of_a_clock_s_calendar_are_read_back() -> None:
    rule = ClockRule(0, days=(Days(date(2020, 1, 1), 255), Days(date(2083, 12, 31) - timedelta(days=1), 2)))

    assert read_clock_program(ClockProgram(rules=(rule,)).to_bytes()).rules == (rule,)
