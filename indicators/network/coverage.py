"""How well what stands somewhere is covered, over days of its devices. Pure.

Unknown is none of the states: with fewer than 20 uplinks sent nobody knows a share of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["covered", "weak", "white", "unknown"]

OF_AT_LEAST = 20
"""Uplinks sent, below which there is no percentage: as of the rules of frame loss."""
WHITE_ABOVE = 50.0
"""Percent lost: more than this is a white zone."""
WEAK_ABOVE = 10.0
WEAK_BELOW_DB = 5.0
"""A mean margin, dB: what a season's leaves or a parked lorry takes away."""
DARK_ABOVE = 50.0
"""Percent of an asset's frames that a gateway alone receives: above, the asset is lost with it."""


@dataclass(frozen=True, slots=True)
class RadioSums:
    """Days of the devices of one asset, added up; `days` of which something is known."""

    days: int
    sent: int
    received: int
    with_receptions: int
    receptions: int
    margin_sum: float
    least_margin: float | None


@dataclass(frozen=True, slots=True)
class Coverage:
    """Percent of uplinks lost, mean and least margin in dB, receptions per frame; None: unknown."""

    state: State
    loss_percent: float | None
    mean_margin: float | None
    least_margin: float | None
    redundancy: float | None


def coverage_of(sums: RadioSums) -> Coverage:
    """What the sums say."""
    loss = None if sums.sent < OF_AT_LEAST else 100 * (1 - sums.received / sums.sent)
    margin = sums.margin_sum / sums.with_receptions if sums.with_receptions else None
    redundancy = sums.receptions / sums.with_receptions if sums.with_receptions else None
    return Coverage(_state(loss, margin), loss, margin, sums.least_margin, redundancy)


def _state(loss: float | None, margin: float | None) -> State:
    if loss is None:
        return "unknown"
    if loss > WHITE_ABOVE:
        return "white"
    return "weak" if loss > WEAK_ABOVE or (margin is not None and margin < WEAK_BELOW_DB) else "covered"


@dataclass(frozen=True, slots=True)
class GatewayLoss:
    """What would be lost of one asset with a gateway: percent of the frames that gateways received, and whether

    it would then be dark.
    """

    percent: float
    is_dark: bool


def loss_without(with_receptions: int, alone: int) -> GatewayLoss:
    """One gateway `alone` received these of the frames `with_receptions`; raises ZeroDivisionError for none."""
    percent = 100 * alone / with_receptions
    return GatewayLoss(percent, percent > DARK_ABOVE)


@dataclass(frozen=True, slots=True)
class CommuneCoverage:
    """Of a commune's assets: of how many something is known, how many are `reached` (covered or weak) or white.

    `percent` reached of the known, and whether that is the target; None: nothing is known.
    """

    commune: str
    known: int
    unknown: int
    reached: int
    white: int
    percent: float | None
    is_reached: bool | None


def by_commune(states: Iterable[tuple[str, State]], target_percent: float) -> list[CommuneCoverage]:
    """Target against observed, by commune in the order of names; unknown assets count on neither side."""
    found: dict[str, list[State]] = {}
    for commune, state in states:
        found.setdefault(commune, []).append(state)
    return [_commune(commune, found[commune], target_percent) for commune in sorted(found)]


def _commune(commune: str, states: Sequence[State], target_percent: float) -> CommuneCoverage:
    unknown, white = states.count("unknown"), states.count("white")
    known = len(states) - unknown
    percent = 100 * (known - white) / known if known else None
    reached = None if percent is None else percent >= target_percent
    return CommuneCoverage(commune, known, unknown, known - white, white, percent, reached)
