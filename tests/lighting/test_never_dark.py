"""No sequence of requests, crashes and lost frames leaves a circuit off ten minutes after it must be lit again.

The decisions are those of the service; around them are a device and a radio of which one frame in four arrives:
of each kind (switching, question, uplink) the fourth in a row at the latest. A crash loses nothing: all that is
known is in rows. While the service, or every gateway, is away nothing happens, and the ten minutes begin when it
is back. A device of class A hears nothing but after its uplinks: it has the time of those that must arrive.
Another circuit of the device says what it likes.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lighting.commands import (
    MAX_ATTEMPTS,
    OPEN,
    RELIGHT_AT_UPLINK_AFTER,
    RELIGHT_EVERY,
    Apply,
    Ask,
    End,
    OpenCommand,
    Proving,
    ReadBack,
    Reconcile,
    SendAgain,
    Settle,
    State,
    Transmitted,
    advance,
)
from lighting.open_command_store import REPORTS
from lighting.requests import UPLINKS_AWAITED, USEFUL_FOR

START = datetime(2026, 11, 25, 18, tzinfo=UTC)
TICK = timedelta(seconds=20)
DARK_AT_MOST = timedelta(minutes=10)
LOST_IN_A_ROW = 3
UPLINK_EVERY = timedelta(minutes=2)
SLOWER_IN_CLASS_A = (LOST_IN_A_ROW + 1) * ((LOST_IN_A_ROW + 1) * UPLINK_EVERY + RELIGHT_AT_UPLINK_AFTER)


@dataclass
class World:
    """Rows, a radio that loses what it is told to, and a relay."""

    lost_frames: list[bool]
    proof: str  # "question", "report" or "none".
    is_class_a: bool = False
    now: datetime = START
    relay: bool = True
    command: OpenCommand | None = None
    off_until: datetime | None = None  # Of the row that is still to be lit again.
    lit_by: datetime | None = None  # When at the latest, by what was asked last.
    read_backs: list[ReadBack] = field(default_factory=list[ReadBack])
    received_at: datetime | None = None
    lost: dict[str, int] = field(default_factory=dict[str, int])
    ids: count = field(default_factory=lambda: count(1))
    frames: int = 0

    @property
    def useful_for(self) -> timedelta:
        return USEFUL_FOR + (UPLINKS_AWAITED * REPORTS * UPLINK_EVERY if self.is_class_a else timedelta(0))

    def arrives(self, kind: str) -> bool:
        self.frames += 1
        is_lost = self.lost_frames[self.frames % len(self.lost_frames)] and self.lost.get(kind, 0) < LOST_IN_A_ROW
        self.lost[kind] = self.lost.get(kind, 0) + 1 if is_lost else 0
        return not is_lost

    def request(self, on: bool, minutes: int) -> None:
        owes = on and (self.off_until is not None or (self.command is not None and self.command.owes_light))
        self.off_until = None if on else self.now + timedelta(minutes=minutes)
        if not on:
            self.lit_by = self.off_until
        elif self.lit_by is not None:
            self.lit_by = min(self.lit_by, self.now)
        proving = Proving(
            () if self.proof == "none" else ("1",),
            float(on),
            self.proof == "question",
            timedelta(minutes=12),
            UPLINK_EVERY if self.is_class_a else timedelta(0),
        )
        self.command = OpenCommand(
            *(
                next(self.ids),
                State.QUEUED,
                "on" if on else "off",
                proving,
                1,
                self.now + self.useful_for,
                "queued",
                None,
            ),
            *(self.now, None, None, owes, self.now + RELIGHT_EVERY if owes else None),
        )

    def transmit(self, *, is_away: bool) -> None:
        """The gateway sends what is queued; the device may hear it."""
        command = self.command
        if command is None or command.downlink_state != "queued":
            return
        if is_away or (self.is_class_a and self.now - (self.received_at or START) > TICK):
            useful_for = self.useful_for if command.state in OPEN else RELIGHT_EVERY
            if self.now >= command.tried_at + useful_for:
                self.command = replace(command, downlink_state="expired")
            return
        self.command = replace(
            command, downlink_state="sent", sent_at=self.now, transmitted=command.transmitted + 1
        )
        if self.arrives("switch"):
            self.relay = command.action == "on"

    def report(self) -> None:
        if (self.proof != "none" or self.is_class_a) and self.arrives("uplink"):
            self.received_at = self.now
            self.read_backs.append(ReadBack("2", float(self.frames % 2), self.now))
            if self.proof != "none":
                self.read_backs.append(ReadBack("1", float(self.relay), self.now))

    def sweep(self) -> None:
        if self.off_until is not None and self.now >= self.off_until:
            self.request(on=True, minutes=0)
        command = self.command
        if command is None:
            return
        match advance(command, self.read_backs, self.received_at, self.now):
            case Transmitted(ask=ask):
                self.command = replace(command, state=State.SENT)
                if ask:
                    self._ask()
            case Ask():
                self._ask()
            case Apply() | Reconcile():
                state = State.APPLIED if command.state in OPEN else command.state
                self.command = replace(command, state=state, owes_light=False)
            case SendAgain():
                state = State.QUEUED if command.state in OPEN else command.state
                self.command = replace(
                    *(command,),
                    state=state,
                    attempts=command.attempts + 1,
                    downlink_state="queued",
                    sent_at=None,
                    tried_at=self.now,
                    read_back_state=None,
                    relight_at=self.now + RELIGHT_EVERY,
                )
            case End(state=state):
                is_settled = state is State.UNPROVEN and command.attempts >= MAX_ATTEMPTS
                self.command = replace(command, state=state, owes_light=command.owes_light and not is_settled)
            case Settle():
                self.command = replace(command, owes_light=False)
            case _:
                pass

    def _ask(self) -> None:
        assert self.command is not None
        self.command = replace(self.command, read_back_state="sent")
        if self.arrives("question"):
            self.report()


REQUESTS = st.lists(st.tuples(st.integers(0, 40), st.booleans(), st.integers(1, 30)), min_size=1, max_size=4)


@settings(max_examples=60)
@given(
    requests=REQUESTS,
    lost_frames=st.lists(st.booleans(), min_size=1, max_size=12),
    proof=st.sampled_from(["question", "report", "none"]),
    away=st.lists(st.booleans(), min_size=1, max_size=8),
    is_class_a=st.booleans(),
    stops=st.lists(st.tuples(st.booleans(), st.integers(0, 60), st.integers(1, 30)), max_size=2),
)
# Every gateway is away when it must be lit, for longer than its frame is of use; nothing proves anything.
@example(
    [(0, False, 1), (1, False, 1), (2, True, 1)], [False, True, True], "question", [False], False, [(True, 0, 12)]
)
@example([(0, False, 5)], [False], "none", [False], False, [(False, 4, 30)])
# Of class A and never proved: its time is over before it was repeated so often as it may be.
@example([(0, False, 1)], [False, True], "none", [False], True, [])
# What expired before a gateway was back was no attempt.
@example(
    *([(21, False, 4)], [True, False, True, True, False, False, False, False], "question", [False], False),
    [(False, 0, 1), (False, 25, 21)],
)
def test_no_circuit_stays_dark_after_its_latest_instant(
    requests, lost_frames, proof, away, is_class_a, stops
) -> None:
    world = World(lost_frames, proof, is_class_a)
    dark_at_most = DARK_AT_MOST + (SLOWER_IN_CLASS_A if is_class_a else timedelta(0))
    planned = {START + timedelta(minutes=minute): (on, minutes) for minute, on, minutes in requests}
    for number in range(int(timedelta(minutes=180) / TICK)):
        world.now = START + number * TICK
        if world.now in planned:
            world.request(*planned[world.now])
        stopped = {
            is_service
            for is_service, begin, minutes in stops
            if timedelta(minutes=begin) <= world.now - START < timedelta(minutes=begin + minutes)
        }
        if number % (6 if is_class_a else 36) == 0 and False not in stopped:
            world.report()
        world.transmit(is_away=False in stopped)
        # But for its stops the service is away for a turn, never for two.
        if not (away[number % len(away)] and number % 2) and True not in stopped:
            world.sweep()
        if stopped and world.lit_by is not None:
            world.lit_by = max(world.lit_by, world.now)
        if world.lit_by is not None and world.now >= world.lit_by + dark_at_most:
            assert world.relay, f"dark at {world.now - START}, {world.command}"
            world.lit_by = None
