"""Relays that the platform switches by their program: a clock that holds none, played minute by minute."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from core.model.lighting import level_at
from core.model.lighting_programs import read_program
from lighting.command_store import Command
from lighting.expected import LampRow
from lighting.following import PROGRAM, request_of
from lighting.phases import EARLY, SPREAD, phase_of

MINUTE = timedelta(minutes=1)
NOW = datetime(2027, 6, 20, 12, tzinfo=UTC)
CUT = {"default": {"night_cut": ["23:45", "05:00"]}}
COMMAND = Command(
    *(1, 1, 7, 1, "on", None, None, PROGRAM, "", "applied", None, 1, 1, None, NOW, NOW, NOW),
    *(None, None, None, None, None, None, True),
)


def row(asset_id: int = 7) -> LampRow:
    return LampRow(asset_id, 48.39, -4.49, "29", "Europe/Paris", 1, CUT, None)


def given(action: str, at: datetime, off_until: datetime | None = None, *, is_automatic: bool = False) -> Command:
    """By somebody whose name is the platform's own word, if not by the platform."""
    return replace(COMMAND, action=action, created_at=at, is_automatic=is_automatic, off_until=off_until)


def test_a_relay_is_lit_and_put_out_by_its_program_through_days_longer_than_an_off_may_be() -> None:
    program, place = read_program(CUT), row().place
    last: Command | None = None
    commands = 0
    for minute in range(4 * 24 * 60):
        now = NOW + minute * MINUTE
        phase = phase_of(row(), now)
        assert phase is not None
        request = request_of(phase, last, now)
        if request is not None:
            last = given(request.action, now, request.off_until, is_automatic=True)
            commands += 1
            assert request.off_until is None or now < request.off_until <= now + timedelta(hours=12)
        if last is None:  # Nothing was asked of it before the program's first change.
            assert not phase.on, now
            continue
        # An "off" that has come to its end is lit again.
        is_on = last.action == "on" or (last.off_until is not None and last.off_until <= now)
        if level_at(program, place, now):
            assert is_on, now
        elif not any(level_at(program, place, now + shift) for shift in (-SPREAD, EARLY + SPREAD)):
            assert not is_on, now
    # Each of four nights is lit twice and put out twice, and three days are longer than an "off" may be.
    assert 16 <= commands <= 20


def test_what_people_asked_for_since_the_last_change_holds_until_the_next() -> None:
    evening = datetime(2027, 6, 20, 21, tzinfo=UTC)  # 23 h: lit until the cut.
    phase = phase_of(row(), evening)
    assert phase is not None
    assert phase.on

    assert request_of(phase, given("off", evening - MINUTE, evening + 60 * MINUTE), evening) is None
    assert request_of(phase, given("on", evening - MINUTE), evening) is None
    ended = request_of(phase, given("off", phase.since - MINUTE, evening - MINUTE), evening)
    assert ended is not None
    assert (ended.action, ended.owes_light, ended.is_automatic) == ("on", True, True)
    dark = phase_of(row(), evening + timedelta(hours=2))
    assert dark is not None
    assert not dark.on
    assert request_of(dark, given("on", evening + timedelta(hours=2)), evening + timedelta(hours=2)) is None
    late = request_of(dark, given("on", evening), evening + timedelta(hours=2))
    assert late is not None
    assert late.off_until == dark.until


def test_cabinets_do_not_switch_all_at_once() -> None:
    begins = {phase.since for number in range(1, 200) if (phase := phase_of(row(number), NOW + 10 * 60 * MINUTE))}

    assert len(begins) > 100
    assert max(begins) - min(begins) <= SPREAD


def test_of_lamps_that_stand_nobody_knows_where_nothing_is_asked() -> None:
    assert phase_of(replace(row(), latitude=None), NOW) is None
