"""The simulated clock: what it does at dusk without anybody, and how it ends what it was asked."""

from datetime import UTC, datetime
from typing import Any

from decoders.territoire.clock import CODEC, NO_PROGRAM
from lab.device.application import Group, Message
from lab.device.lamp_clock import LampClock
from lab.device.payloads import clock as wire

BREST = (48.39, -4.49)
PROGRAM = bytes.fromhex("01041012e7fe3fb4104258212ca50a2594")  # docs/profil-horloge.md, the first example.


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


EVENING, MIDNIGHT, DAY = at("2026-11-28T20:00"), at("2026-11-29T00:00"), at("2026-11-29T11:00")


def ask(clock: LampClock, now_us: int, name: str, **parameters: Any) -> dict[str, Any]:
    """Encoded by the codec, answered by the clock, decoded by the codec: readings and data in one."""
    assert CODEC.encode is not None
    encoded = CODEC.encode(name, parameters)
    answer = clock.on_downlink(Message(encoded.f_port, encoded.payload), now_us)
    assert answer is not None
    decoded = CODEC.decode(answer.f_port, answer.payload, now_us, {})
    return {f"{one.quantity}{one.channel}": one.value for one in decoded.readings} | decoded.data


def override(clock: LampClock, now_us: int, sequence: int, level: int, minutes: int = 60, **more: int) -> Any:
    until = now_us // 1_000_000 + 60 * minutes
    return ask(
        clock,
        now_us,
        "override",
        **{"sequence": sequence, "level": level, "minutes": minutes, "until": until} | more,
    )


def test_follows_its_program_and_says_which() -> None:
    clock = LampClock((1_000, 500))
    first = ask(clock, EVENING, "set_program", program=PROGRAM.hex())
    held = clock.on_downlink(Message(wire.QUESTION_PORT, b"\x02"), EVENING)

    assert (first["program_hash"], first["switch_state1"], first["light_output2"]) == ("e352aa1e", 1, 100)
    assert first["active_power"] == 0.9 * 1_500
    assert held == Message(wire.PROGRAM_PORT, PROGRAM)
    assert clock.levels(at("2026-11-28T21:30")) == [50, 50]
    assert clock.levels(MIDNIGHT) == [0, 0]
    assert clock.levels(DAY) == [0, 0]
    assert ask(clock, EVENING + 3_600_000_000, "read_state")["active_energy_import"] == 675

    clock.on_downlink(Message(wire.PROGRAM_PORT, PROGRAM[:-1]), MIDNIGHT)

    state = ask(clock, MIDNIGHT, "read_state")
    assert (state["program_rejected"], state["program_hash"]) == (True, "e352aa1e")


def test_without_program_time_or_position_its_lamps_burn() -> None:
    assert LampClock((1,)).on_downlink(Message(wire.QUESTION_PORT, b"\x02"), DAY) == Message(61, NO_PROGRAM)
    assert LampClock((1,)).levels(DAY) == [100]
    assert LampClock((1,), own_position=BREST).levels(DAY) == [0]
    assert LampClock((1,), own_position=BREST).levels(MIDNIGHT) == [100]
    assert LampClock((1,), program=PROGRAM, is_set=False).levels(DAY) == [100]
    sees_the_sky = LampClock((1,), photocell=BREST, program=PROGRAM, is_set=False)
    assert [sees_the_sky.levels(DAY), sees_the_sky.levels(MIDNIGHT)] == [[0], [100]]

    state = ask(sees_the_sky, MIDNIGHT, "read_state")
    assert (state["clock_valid"], state["fallback"], state["clock"]) == (0, True, None)
    back = ask(sees_the_sky, MIDNIGHT, "set_time", time=MIDNIGHT // 1_000_000 + 3)
    assert (back["clock_offset"], back["switch_state"], back["fallback"]) == (3, 0, False)


def test_ends_an_override_by_itself_at_the_first_of_its_two_ends() -> None:
    clock = LampClock((1_000, 500), program=PROGRAM)

    off = override(clock, EVENING, 7, 0)
    assert (off["override_sequence"], off["override_outcome"], off["active_power"]) == (7, "applied", 0)
    assert clock.levels(EVENING + 59 * 60_000_000) == [0, 0]
    assert clock.levels(EVENING + 60 * 60_000_000) == [50, 50]
    assert ask(clock, EVENING + 61 * 60_000_000, "read_state")["override_outcome"] == "ended"
    # Its own clock is slow by far: the time since the reception ends it all the same.
    slow = LampClock((1_000,), program=PROGRAM, error_s=-86_400)
    override(slow, EVENING, 8, 0)
    assert slow.levels(EVENING + 60 * 60_000_000) != [0]


def test_one_circuit_is_dimmed_and_given_back() -> None:
    clock = LampClock((1_000, 500), program=PROGRAM)
    override(clock, EVENING, 1, 30, circuit=2)

    assert clock.levels(EVENING) == [100, 30]
    assert override(clock, EVENING, 2, 0, circuit=3)["override_outcome"] == "unknown_circuit"
    assert ask(clock, EVENING, "release_override", sequence=3, circuit=2)["override_outcome"] == "applied"
    assert clock.levels(EVENING) == [100, 100]


def test_rejects_an_off_that_is_late_or_cannot_be_dated_and_any_while_a_technician_is_there() -> None:
    clock = LampClock((1_000,), program=PROGRAM)
    late = override(clock, EVENING, 1, 0, until=EVENING // 1_000_000 - 1)
    assert (late["override_outcome"], clock.levels(EVENING)) == ("too_late", [100])

    clock.is_set = False
    assert override(clock, EVENING, 2, 0)["override_outcome"] == "clock_invalid"
    assert override(clock, EVENING, 3, 100)["override_outcome"] == "applied"

    clock.is_set, clock.local_level = True, 100
    locally = override(clock, MIDNIGHT, 4, 0)
    assert (locally["override_outcome"], locally["local_override"]) == ("local_override", 1)
    assert clock.levels(MIDNIGHT) == [100]

    clock.on_downlink(Message(wire.STATE_PORT, b"\x05"), MIDNIGHT)
    state = ask(clock, MIDNIGHT, "read_state")
    assert (state["override_sequence"], state["override_outcome"]) == (4, "malformed")


def test_keeps_the_group_that_it_was_given() -> None:
    clock = LampClock((1_000,))
    keys = bytes(range(16)), bytes(range(16, 32))
    message = b"\x00\x01\x02\x03\x04" + keys[0] + keys[1] + (9).to_bytes(4) + (8_695_250).to_bytes(3) + b"\x03"

    assert clock.on_downlink(Message(wire.GROUP_PORT, message), EVENING) is not None
    clock.on_downlink(Message(wire.GROUP_PORT, message[:-1]), EVENING)

    assert clock.group == Group(b"\x01\x02\x03\x04", *keys, 9, 869_525_000, 3)


def test_without_a_program_it_lights_from_dusk_to_dawn_wherever_it_stands() -> None:
    noumea = LampClock((1,), own_position=(-22.27, 166.44))

    # By ephem the sun sets there at 07:24 UTC, and rises at 18:00.
    instants = ("2026-11-28T07:00", "2026-11-28T08:00", "2026-11-28T17:30", "2026-11-28T18:30")
    assert [noumea.levels(at(text)) for text in instants] == [[0], [100], [100], [0]]
