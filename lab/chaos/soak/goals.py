"""Which curves of a soak may rise, and by how much."""

from collections.abc import Sequence
from dataclasses import dataclass

from lab.chaos.soak.samples import Curve
from lab.chaos.soak.slopes import MOST_SHARE, Slope, Verdict, slope

# What may rise in ten minutes beside 1 % of its level: of small numbers one more is many per cent.
ALLOWED = {"memory": 0.0, "descriptors": 1.0, "tasks": 2.0, "connections": 1.0, "backlog": 20.0, "bloat": 1.0}
# What was looked at too seldom has not been shown to hold.
FAILED = frozenset({Verdict.MISSED, Verdict.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Judged:
    """A curve, how it rises, and whether that is allowed."""

    curve: Curve
    slope: Slope
    allowed: float
    verdict: Verdict

    @property
    def line(self) -> str:
        """For people."""
        one = self.slope
        return (
            f"{self.curve.goal} {self.curve.name} : {one.level:.1f} {self.curve.unit}, "
            f"{one.per_period:+.3f} en 10 min "
            f"[{one.low:+.3f} ; {one.high:+.3f}], {self.allowed:.3f} permis : {self.verdict.value}"
        )


def judge(curves: Sequence[Curve], warm_up_s: float) -> list[Judged]:
    """Each curve that has a goal, behind the warm-up."""
    judged = list[Judged]()
    for curve in curves:
        if curve.goal in ALLOWED:
            times_s, values = curve.after(warm_up_s)
            rises, half = slope(times_s, values), len(times_s) // 2
            allowed = max(MOST_SHARE * rises.level, ALLOWED[curve.goal])
            halves = slope(times_s[:half], values[:half]), slope(times_s[half:], values[half:])
            judged.append(Judged(curve, rises, allowed, rises.verdict(allowed, *halves)))
    return judged


def findings(judged: Sequence[Judged]) -> list[str]:
    """The curves that fail a soak, and the goals that have none at all."""
    unseen = ALLOWED.keys() - {one.curve.goal for one in judged}
    return [one.line for one in judged if one.verdict in FAILED] + [f"{goal} : rien vu" for goal in sorted(unseen)]
