"""Which curve of a soak is said to grow, and the page that shows it."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from lab.chaos.case import Case
from lab.chaos.outcome import Outcome
from lab.chaos.soak.goals import ALLOWED, findings, judge
from lab.chaos.soak.play import soak
from lab.chaos.soak.report import write_report
from lab.chaos.soak.samples import Curve, Samples
from lab.chaos.soak.slopes import Verdict
from lab.chaos.stage import Stage

TEN_S = [10.0 * number for number in range(121)]


def curve(goal: str, name: str, per_ten_minutes: float, level: float = 50.0, jump_at_s: float = 0.0) -> Curve:
    """Twenty minutes of a line, which has a jump of a half when it begins."""
    values = [
        level + per_ten_minutes * (at - 600) / 600 - (level / 2 if at < jump_at_s else 0) + 0.01 * (number % 2)
        for number, at in enumerate(TEN_S)
    ]
    return Curve(goal, name, "Mo", list(TEN_S), values)


def test_one_per_cent_in_ten_minutes_is_the_limit_of_memory_behind_the_warm_up() -> None:
    """Of 50 MB half a megabyte is allowed."""
    judged = judge(
        [
            curve("memory", "level", 0.0),
            curve("memory", "slow", 0.45),
            curve("memory", "leaks", 0.6),
            curve("memory", "falls", -3.0),
            curve("memory", "fills its caches", 0.0, jump_at_s=300.0),
        ],
        warm_up_s=360.0,
    )

    assert {one.curve.name: one.verdict for one in judged} == {
        "level": Verdict.HOLDS,
        "slow": Verdict.HOLDS,
        "leaks": Verdict.MISSED,
        "falls": Verdict.HOLDS,
        "fills its caches": Verdict.HOLDS,
    }
    assert all(abs(one.allowed - 0.01 * one.slope.level) < 1e-9 for one in judged)


def test_memory_that_is_taken_once_behind_the_warm_up_is_a_step_and_that_which_is_taken_twice_a_leak() -> None:
    twice = curve("memory", "twice", 0.0, jump_at_s=300.0)
    twice.values = [value + (25.0 if at >= 900 else 0.0) for at, value in zip(TEN_S, twice.values, strict=True)]

    judged = judge([curve("memory", "once", 0.0, jump_at_s=300.0), twice], warm_up_s=0.0)

    assert [one.verdict for one in judged] == [Verdict.STEP, Verdict.MISSED]


@pytest.mark.parametrize("begins_at_s", [300.0, 600.0, 780.0, 1_050.0])
def test_a_leak_that_begins_late_is_one(begins_at_s: float) -> None:
    """Level until then; from then on 15 MB a minute."""
    leaking = curve("memory", "ingest", 0.0, level=100.0)
    leaking.values = [
        value + max(0.0, at - begins_at_s) * 0.25 for at, value in zip(TEN_S, leaking.values, strict=True)
    ]

    [judged] = judge([leaking], warm_up_s=360.0)

    assert judged.verdict is Verdict.MISSED


def test_a_pool_that_breathes_below_what_it_had_at_first_leaks_nothing_and_one_that_goes_beyond_does() -> None:
    rising = [8.0] * 36 + [3.0 + 5 * number / 84 for number in range(85)]
    breathes = Curve("connections", "lighting", "", list(TEN_S), rising)
    leaks = Curve(
        "connections",
        "intake",
        "",
        list(TEN_S),
        [value - 5 * (at < 360) for at, value in zip(TEN_S, rising, strict=True)],
    )
    of_memory = Curve("memory", "ingest", "Mo", list(TEN_S), rising)

    judged = judge([breathes, leaks, of_memory], warm_up_s=360.0)

    assert [one.verdict for one in judged] == [Verdict.WITHIN, Verdict.MISSED, Verdict.MISSED]


def test_a_descriptor_in_ten_minutes_is_allowed_and_two_are_not_and_the_size_has_no_goal() -> None:
    judged = judge(
        [
            curve("descriptors", "one", 0.9, level=20.0),
            curve("descriptors", "two", 2.0, level=20.0),
            curve("size", "base", 500.0),
        ],
        warm_up_s=0.0,
    )

    assert [(one.curve.name, one.verdict) for one in judged] == [("one", Verdict.HOLDS), ("two", Verdict.MISSED)]


def test_the_report_names_what_grows_and_has_every_curve_in_it(tmp_path: Path) -> None:
    samples = Samples()
    for one in (curve("memory", "network", 0.6), curve("size", "base <1>", 500.0)):
        samples.curves[one.goal, one.name] = one
    judged = judge(list(samples.curves.values()), 360.0)

    write_report(tmp_path / "soak.html", samples, judged, 360.0, [Outcome("soak-1", "")])
    page = (tmp_path / "soak.html").read_text("utf-8")

    # The memory, and five goals of which nothing was seen.
    assert "courbes qui grandissent ou n'ont rien montré : 6" in page
    assert '<tr class="missed"><td>memory : network</td>' in page
    assert '"id": "memory"' in page
    assert '"id": "size"' in page
    assert "uPlot" in page
    assert page.count("<div id=") == 2


def test_a_soak_in_which_nothing_was_seen_or_too_little_has_shown_nothing() -> None:
    seen = [curve(goal, "level", 0.0) for goal in ALLOWED]
    short = Curve("memory", "new", "Mo", TEN_S[-7:], [50.0] * 7)

    assert findings(judge(seen, 0.0)) == []
    assert findings(judge([], 0.0)) == [f"{goal} : rien vu" for goal in sorted(ALLOWED)]
    assert [line.partition(" :")[0] for line in findings(judge([*seen, short], 0.0))] == ["memory new"]


def test_who_has_no_connection_at_a_look_has_none_and_had_none_before() -> None:
    samples = Samples()
    for at_s, counts in enumerate(({"api": 4.0}, {"api": 4.0, "autovacuum worker": 1.0}, {"api": 3.0})):
        samples.record_counts(float(at_s), "connections", counts)

    assert {name: one.values for (_, name), one in samples.curves.items()} == {
        "api": [4, 4, 3],
        "autovacuum worker": [0, 1, 0],
        "toutes": [4, 5, 3],
    }
    assert {tuple(one.times_s) for one in samples.curves.values()} == {(0.0, 1.0, 2.0)}


class BareStage:
    """Plays parts in no time; what is looked at is away."""

    processes = pool = bus = None
    rate = 20.0

    async def play(self, case: Case, _seconds: float) -> Outcome:
        await asyncio.sleep(0.01)
        return Outcome(case.name, case.title)

    def forget(self) -> None:
        return


async def test_a_watcher_that_fails_loses_no_report_and_fails_the_soak(tmp_path: Path) -> None:
    outcomes = await soak(cast(Stage, BareStage()), 5.0, tmp_path)

    assert (tmp_path / "soak.html").exists()
    assert any("les mesures ont cessé avant la fin : AttributeError" in one for one in outcomes[-1].differences)
