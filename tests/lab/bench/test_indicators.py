"""What `bench indicators` asks, and how it says whether goals were reached."""

from datetime import date
from zoneinfo import ZoneInfo

import msgspec

from core.runtime.postgres import Pool
from lab.bench.indicator_reports import AllReportsFigures, MadeReports, ReportFigures
from lab.bench.indicator_round import RoundFigures
from lab.bench.indicator_world import World
from lab.bench.indicators import PARTS, Figures, RefreshFigures, plan_questions, year_before
from lab.bench.queries import QueryFigures

REACHED = QueryFigures("savings", "économies", 20, 1_000, 900.0, 950.0, 40.0, 30.0, 10.0, 12.0, 90.0, reached=True)


async def test_each_part_is_a_question_or_the_refresh(pool: Pool) -> None:
    world = World(1, 2, "key", "other key", date(2026, 11, 28), ZoneInfo("Europe/Paris"), [[11], [12, 13]])

    questions = await plan_questions(pool, world)

    assert {*(one.name for one in questions), "refresh", "round", "report", "reports"} == set(PARTS)
    [savings] = [one for one in questions if one.name == "savings"]
    assert savings.arguments[0] == [11, 12, 13]
    [coverage] = [one for one in questions if one.name == "coverage"]
    assert coverage.key == "other key"
    assert "visible_tenants" not in coverage.statement


def test_a_year_is_the_twelve_months_that_are_over() -> None:
    zone = ZoneInfo("Europe/Paris")

    edges = [edge.astimezone(zone).date() for edge in year_before(date(2026, 11, 28), zone)]

    assert [edges[0], edges[-1], len(edges)] == [date(2025, 11, 1), date(2026, 11, 1), 13]


def test_what_is_slower_than_its_goal_is_missed_unless_by_its_processor_time() -> None:
    slow = msgspec.structs.replace(REACHED, median_ms=1_000.1, reached=False)
    heavy = ReportFigures(300, 4_000.0, 900.0, 500.0, before_mb=110.0, peak_mb=260.1)
    late = AllReportsFigures(
        MadeReports(73, 100.0, 40.0, 30.0, peak_mb=150.0), p99_before_ms=100.0, p99_meanwhile_ms=110.1
    )
    figures = Figures([REACHED, slow], None, heavy, late, RoundFigures(88, 88, 5_000.1, 900.0, 20.0), 0.5)

    assert figures.missed == ["savings", "report", "reports", "round"]
    assert msgspec.structs.replace(heavy, peak_mb=260.0).is_reached
    in_time = msgspec.structs.replace(late, p99_meanwhile_ms=110.0)
    assert in_time.is_reached
    large = msgspec.structs.replace(in_time.made, peak_mb=150.1)
    assert not msgspec.structs.replace(in_time, made=large).is_reached
    assert slow.is_reached_by_cpu


def test_cores_are_of_ten_thousand_values_a_second() -> None:
    # 25 us of each of 10,000 values are a quarter of a second in each second.
    assert RefreshFigures(7, 137_000, 900.0, 10.0, 15.0).cores == 0.25
