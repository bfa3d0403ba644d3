"""Which curves of a soak may rise, and by how much."""

from collections.abc import Sequence
from dataclasses import dataclass

from lab.chaos.soak.samples import Curve
from lab.chaos.soak.slopes import MOST_SHARE, Slope, Verdict, around_highest_step, slope

# What may rise in ten minutes beside 1 % of its level: of small numbers one more is many per cent.
ALLOWED = {"memory": 0.0, "descriptors": 1.0, "tasks": 2.0, "connections": 1.0, "backlog": 20.0, "bloat": 1.0}
# A pool closes what it has not needed for minutes, and opens it again: no leak while it has no more than at first.
BREATHE = frozenset({"connections"})
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
            rises = slope(times_s, values)
            allowed = max(MOST_SHARE * rises.level, ALLOWED[curve.goal])
            verdict = rises.verdict(allowed, around_highest_step(times_s, values))
            breathes = curve.goal in BREATHE and max(values, default=0.0) <= curve.highest_before(warm_up_s)
            if verdict is Verdict.MISSED and breathes:
                verdict = Verdict.WITHIN
            judged.append(Judged(curve, rises, allowed, verdict))
    return judged


def findings(judged: Sequence[Judged]) -> list[str]:
    """The curves that fail a soak, and the goals that have none at all."""
    unseen = ALLOWED.keys() - {one.curve.goal for one in judged}
    return [one.line for one in judged if one.verdict in FAILED] + [f"{goal} : rien vu" for goal in sorted(unseen)]
