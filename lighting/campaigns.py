"""Whether a campaign may begin, go on, or has to halt. Pure: what is known of its targets and `now` are arguments.

A campaign switches or programs many circuits. A few of them go first (the canary); the others follow when those
have proved it. A campaign that fails, or darkens a street that should be lit, stops by itself: what has not been
sent is not sent, and nothing that was sent is taken back unasked.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

# From so many circuits on, an order is a campaign.
MOST_WITHOUT_CAMPAIGN = 20
CANARY_SHARE = 0.02
SMALLEST_CANARY = 5
# More failures than this share, after their repetitions, halt it.
TOLERATED_FAILURES = 0.05
# Around dusk every gateway is left to what lights the streets.
AROUND_DUSK = timedelta(minutes=30)
# A frame waits for its gateway, a group's for two minutes; a question that proves it goes out within as long.
RELEASED_BEFORE = ASKED_WITHIN = timedelta(minutes=2)
FAR = timedelta(days=1)  # Where the sun does not set.


class State(StrEnum):
    """Where a campaign stands; from `ended` on all but `halted`, which waits for a person, is final.

    A proposal is a draft that oversteps a syndicat's bounds: the syndicat approves or refuses it.
    """

    DRAFT = "draft"
    APPROVED = "approved"
    CANARY = "canary"
    RUNNING = "running"
    PAUSED = "paused"
    HALTED = "halted"
    ENDED = "ended"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    REFUSED = "refused"


STATES_FR: dict[str, str] = {
    State.DRAFT: "à l'état de projet",
    State.APPROVED: "approuvée",
    State.CANARY: "en cours, premières armoires",
    State.RUNNING: "en cours",
    State.PAUSED: "suspendue",
    State.HALTED: "arrêtée d'elle-même",
    State.ENDED: "terminée",
    State.CANCELLED: "annulée",
    State.EXPIRED: "périmée",
    State.REFUSED: "refusée",
}
GOING_ON = frozenset({State.APPROVED, State.CANARY, State.RUNNING})


class Halt(StrEnum):
    """Why a campaign stopped by itself."""

    CANARY_FAILED = "canary_failed"
    TOO_MANY_FAILURES = "too_many_failures"
    DARKENED = "darkened"


HALT_FR: dict[str, str] = {
    Halt.CANARY_FAILED: "les premières armoires n'ont pas suivi : les autres ne sont pas commandées",
    Halt.TOO_MANY_FAILURES: "plus de 5 % des armoires n'ont pas suivi après leurs répétitions",
    Halt.DARKENED: "une armoire de la campagne ne s'allume plus alors que son programme l'allume",
}


class RejectedCampaign(ValueError):
    """The step may not be taken; the message, in French, is shown to the person who asked for it."""


@dataclass(frozen=True, slots=True)
class TargetCounts:
    """How many circuits of a part of a campaign are where. `proved`: the device itself has said so.

    `unproven`: a program was sent to a clock that nobody can ask for it.
    """

    waiting: int = 0
    under_way: int = 0
    proved: int = 0
    failed: int = 0
    superseded: int = 0  # By somebody's later command: neither.
    unproven: int = 0

    @property
    def ended(self) -> int:
        """Those of which the outcome is known."""
        return self.proved + self.failed + self.superseded + self.unproven

    @property
    def total(self) -> int:
        """All of them."""
        return self.waiting + self.under_way + self.ended


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known of a campaign: its canary, the others, and targets that went dark after their frame."""

    canary: TargetCounts
    others: TargetCounts
    darkened: int = 0


def canary_of(targets: Sequence[tuple[int, str]], unproven: Collection[int] = ()) -> frozenset[int]:
    """Those that go first, 2 % and at least five: of each gateway in turn, so that none is left out.

    Args:
        targets: number and gateway of each.
        unproven: those of which nothing can prove it; they show nothing, and go first where there are no others.
    """
    size = min(len(targets), max(SMALLEST_CANARY, math.ceil(CANARY_SHARE * len(targets))))
    targets = [target for target in targets if target[0] not in unproven] or targets
    of_gateway: dict[str, list[int]] = defaultdict(list)
    for number, gateway in sorted(targets):
        of_gateway[gateway].append(number)
    turns = sorted(
        (turn, gateway, number) for gateway, numbers in of_gateway.items() for turn, number in enumerate(numbers)
    )
    return frozenset(number for _, _, number in turns[:size])


def advance(
    state: State, progress: Progress, not_after: datetime, now: datetime, *, is_emergency: bool = False
) -> tuple[State, Halt | None]:
    """The state that a campaign is in now, and why it halted if it just did; nothing halts an emergency.

    Raises:
        ValueError: it is not going on.
    """
    if state not in GOING_ON:
        raise ValueError(f"a campaign that is {state} does not go on")
    if not is_emergency and (halt := _halt(progress)):
        return State.HALTED, halt
    canary, others = progress.canary, progress.others
    if canary.ended == canary.total and others.ended == others.total:
        return State.ENDED, None
    if now >= not_after and canary.under_way + others.under_way == 0:
        return State.EXPIRED, None
    return (State.RUNNING if canary.ended == canary.total else State.CANARY), None


def _halt(progress: Progress) -> Halt | None:
    if progress.darkened:
        return Halt.DARKENED
    canary, others = progress.canary, progress.others
    if canary.failed > TOLERATED_FAILURES * canary.total:
        return Halt.CANARY_FAILED
    if canary.ended == canary.total and canary.superseded and not canary.proved and others.waiting:
        return Halt.CANARY_FAILED  # Somebody has commanded all of it since: nothing was proved.
    failed, ended, total = canary.failed + others.failed, canary.ended + others.ended, canary.total + others.total
    # One failure among the first few says nothing of the rest; so many of all are too many, whatever follows.
    if failed > TOLERATED_FAILURES * (ended if ended >= MOST_WITHOUT_CAMPAIGN else total):
        return Halt.TOO_MANY_FAILURES
    return None


def out_before(now: datetime, dusks: Iterable[datetime]) -> datetime | None:
    """Until when a frame that is released now may go out: before the half hour around the next dusk.

    It may wait for its gateway, and be followed by a question. None: there is no time for either, dusk is near.
    """
    begins = [dusk - AROUND_DUSK for dusk in dusks if now <= dusk + AROUND_DUSK]
    latest = min(begins, default=now + FAR) - ASKED_WITHIN
    return latest if now + RELEASED_BEFORE <= latest else None


def check_approval(state: State, author: str, approver: str, not_after: datetime, now: datetime) -> None:
    """Whether `approver` may approve.

    Raises:
        RejectedCampaign: the author does, it is no draft, or its time is over.
    """
    if state is not State.DRAFT:
        raise RejectedCampaign("seule une campagne à l'état de projet s'approuve")
    if approver == author:
        raise RejectedCampaign("une campagne est approuvée par une autre personne que son auteur")
    if now >= not_after:
        raise RejectedCampaign("la fin de cette campagne est passée : préparez-la à nouveau")


def check_move(state: State, of: Collection[State]) -> None:
    """Whether a campaign can be moved on from its state by hand.

    Raises:
        RejectedCampaign: it is none of these.
    """
    if state not in of:
        raise RejectedCampaign(f"la campagne est {STATES_FR[state]} : cela ne se fait plus, ou pas encore")
