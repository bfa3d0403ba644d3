"""Rule states of an owned shard in memory; written every few seconds and at every alert.

After a crash the table is behind by those seconds: whatever was measured since is read from there and evaluated
again, with the same result.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from alerting.engine_store import StateKey, StateRow, read_states_of_datastreams
from alerting.rulebook import Sign
from core.runtime.postgres import Pool

# More than this many fingerprints that are written down are forgotten, and read again when they are needed.
MOST_REMEMBERED = 200_000


@dataclass(slots=True)
class Memory:
    """One shard's states as evaluated, those not saved yet, and until when receptions move no deadline."""

    version: int = -1
    states: dict[StateKey, StateRow | None] = field(default_factory=dict[StateKey, StateRow | None])
    """None is known to be in no table."""
    unsaved: dict[StateKey, StateRow] = field(default_factory=dict[StateKey, StateRow])
    unsaved_due_at: datetime | None = None
    """The earliest instant at which one of these is to be judged, or was before it changed again."""
    received_until: dict[Sign, datetime] = field(default_factory=dict[Sign, datetime])

    async def load(self, pool: Pool, keys: Iterable[StateKey]) -> None:
        """Know these fingerprints, all of datastreams."""
        missing = [key for key in keys if key not in self.states]
        if missing:
            stored = await read_states_of_datastreams(pool, missing)
            self.states |= {key: stored.get(key) for key in missing}

    def follow(self, changed: Mapping[StateKey, StateRow]) -> None:
        """Takes over changed states in memory; they are saved later."""
        self.unsaved |= changed
        self.states |= changed
        due = [row.state.due_at for row in changed.values() if row.state.due_at is not None]
        if due:
            self.unsaved_due_at = min(due) if self.unsaved_due_at is None else min(self.unsaved_due_at, *due)

    def saved(self, rows: Mapping[StateKey, StateRow]) -> None:
        """These are committed."""
        self.states |= rows
        for key in rows:
            self.unsaved.pop(key, None)
        self._forget_most()

    def all_saved(self) -> None:
        """What was not saved is committed."""
        self.unsaved.clear()
        self.unsaved_due_at = None
        self._forget_most()

    def _forget_most(self) -> None:
        if len(self.states) > MOST_REMEMBERED and not self.unsaved:
            self.states.clear()

    def moves(self, sign: Sign, at: datetime) -> bool:
        """Whether a sign of life at this instant may have to be written."""
        until = self.received_until.get(sign)
        return until is None or at >= until
