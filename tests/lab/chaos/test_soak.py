"""Which curve of a soak is said to grow, and the page that shows it."""

from pathlib import Path

from lab.chaos.outcome import Outcome
from lab.chaos.slopes import Verdict
from lab.chaos.soak_goals import judge
from lab.chaos.soak_report import write_report
from lab.chaos.soak_samples import Curve, Samples

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

    assert "courbes qui grandissent : 1" in page
    assert '<tr class="missed"><td>memory : network</td>' in page
    assert '"id": "memory"' in page
    assert '"id": "size"' in page
    assert "uPlot" in page
    assert page.count("<div id=") == 2
