from io import StringIO

import pytest
from rich.console import Console

from lab.bench.observation import Snapshot
from lab.bench.report import Measured, Run, median_of, print_report, print_search
from lab.load.latency import Latency
from lab.load.load import Played
from lab.simulator.account import Account

SECOND_US = 1_000_000


def measured(*, in_time: int = 99_000, uplinks: int = 100_000) -> Measured:
    before = Snapshot(10.0, {"network": 1.0, "ingest": 2.0}, 100.0, {"FRAMES": 5, "UPLINKS": 7}, 3)
    after = Snapshot(22.0, {"network": 3.0, "ingest": 5.0}, 112.0, {"FRAMES": 1_205, "UPLINKS": 607}, 4)
    played = Played(50 * SECOND_US, 60 * SECOND_US, uplinks, 1.0)
    return Measured(played, Latency(uplinks, in_time, 200.0, 300.0, 400.0), 5 * uplinks, before, after)


def test_cpu_is_shown_by_process_and_without_the_generator() -> None:
    figures = measured().as_dict()

    assert figures["cpu_us_per_uplink_by_process"] == {"network": 20.0, "ingest": 30.0}
    assert figures["cpu_us_per_uplink"] == 50.0
    assert figures["generator_cpu_us_per_uplink"] == 10.0
    assert figures["cores_by_process"] == {"network": 0.17, "ingest": 0.25}
    assert figures["cores_busy_elsewhere"] == 0.5


def test_messages_and_drops_are_differences() -> None:
    figures = measured().as_dict()

    assert figures["messages_per_second"] == {"FRAMES": 100, "UPLINKS": 50}
    assert figures["udp_drops"] == 1


@pytest.mark.parametrize(("in_time", "sustained"), [(90_000, True), (89_999, False)])
def test_a_rate_is_sustained_when_one_second_of_it_is_left_at_most(in_time: int, sustained: bool) -> None:
    one = measured(in_time=in_time)

    assert one.is_sustained is sustained
    assert one.as_dict()["uplinks_per_second"] == (10_000 if sustained else 8_999.9)


def test_a_run_compares_its_rows_with_its_ceiling() -> None:
    figures = Run(measured(), 500_000.0, measured()).as_dict()

    assert (figures["rows_per_second"], figures["ceiling_rows_per_second"]) == (50_000, 500_000)
    assert figures["ratio_to_ceiling"] == 0.1
    assert figures["paced"]["p99_ms"] == 400.0
    assert {"uplinks_per_second", "cpu_us_per_uplink", "p50_ms", "p95_ms", "p99_ms"} <= set(figures)


def test_a_paced_run_alone_gives_the_figures_itself() -> None:
    figures = Run(None, 500_000.0, measured()).as_dict()

    assert figures["p50_ms"] == 200.0
    assert "paced" not in figures


def test_medians_are_taken_number_by_number() -> None:
    runs = [
        {"rate": rate, "sustained": rate < 3, "cpu": {"network": float(rate)}, "name": "x"} for rate in (1, 5, 2)
    ]

    assert median_of(runs) == {"rate": 2, "sustained": False, "cpu": {"network": 2.0}, "name": "x"}


def test_the_report_is_read_by_people() -> None:
    output = StringIO()
    console = Console(file=output, width=120)
    figures = Run(measured(), 500_000.0, measured()).as_dict()

    print_search(console, measured())
    print_report(
        console, figures, [Account(sent=3, heard=3, stored=2, missing=1, examples=["f_cnt 1 stored 0 times"])]
    )

    text = output.getvalue()
    assert "50.0" in text
    assert "p99 400 ms" in text
    assert "rapport 0.100" in text
    assert "1 manquantes" in text
    assert "f_cnt 1" in text
