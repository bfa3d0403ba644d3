"""No sequence of requests, crashes and lost frames leaves a circuit off ten minutes after it must be lit again.

The decisions are those of the service; around them are a device and a radio of which one frame in four arrives:
of each kind (switching, question, uplink) the fourth in a row at the latest. A crash loses nothing: all that is
known is in rows.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count

from hypothesis import given, settings
from hypothesis import strategies as st

from lighting.commands import (
    OPEN,
    RELIGHT_EVERY,
    Apply,
    Ask,
    End,
    OpenCommand,
    Proving,
    ReadBack,
    Reconcile,
    SendAgain,
    State,
    Transmitted,
    advance,
)

START = datetime(2026, 11, 25, 18, tzinfo=UTC)
TICK = timedelta(seconds=20)
DARK_AT_MOST = timedelta(minutes=10)
USEFUL_FOR = timedelta(minutes=10)
LOST_IN_A_ROW = 3


@dataclass
class World:
    """Rows, a radio that loses what it is told to, and a relay."""

    lost_frames: list[bool]
    proof: str  # "question", "report" or "none".
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
            () if self.proof == "none" else ("",), float(on), self.proof == "question", timedelta(minutes=12)
        )
        self.command = OpenCommand(
            *(
                next(self.ids),
                State.QUEUED,
                "on" if on else "off",
                proving,
                1,
                self.now + USEFUL_FOR,
                "queued",
                None,
            ),
            *(self.now, None, None, owes, self.now + RELIGHT_EVERY if owes else None),
        )

    def transmit(self) -> None:
        """The gateway sends what is queued; the device may hear it."""
        command = self.command
        if command is not None and command.downlink_state == "queued":
            self.command = replace(command, downlink_state="sent", sent_at=self.now)
            if self.arrives("switch"):
                self.relay = command.action == "on"

    def report(self) -> None:
        if self.proof != "none" and self.arrives("uplink"):
            self.received_at = self.now
            self.read_backs.append(ReadBack("", float(self.relay), self.now))

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
                self.command = replace(
                    command, state=state, owes_light=command.owes_light and state is not State.UNPROVEN
                )
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
)
def test_no_circuit_stays_dark_after_its_latest_instant(requests, lost_frames, proof, away) -> None:
    world = World(lost_frames, proof)
    planned = {START + timedelta(minutes=minute): (on, minutes) for minute, on, minutes in requests}
    for number in range(int(timedelta(minutes=90) / TICK)):
        world.now = START + number * TICK
        if world.now in planned:
            world.request(*planned[world.now])
        world.transmit()
        if number % 36 == 0:
            world.report()
        # The service is away for a turn, never for two.
        if not (away[number % len(away)] and number % 2):
            world.sweep()
        if world.lit_by is not None and world.now >= world.lit_by + DARK_AT_MOST:
            assert world.relay, f"dark at {world.now - START}, {world.command}"
            world.lit_by = None
