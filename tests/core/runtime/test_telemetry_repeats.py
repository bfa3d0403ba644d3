import json
import logging
from io import StringIO
from typing import Any

import pytest
import structlog
from prometheus_client import REGISTRY

from core.runtime import telemetry
from core.runtime.telemetry import BURST, REPORTED_AFTER_S, Repeats


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def output(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> StringIO:
    monkeypatch.setattr(telemetry, "REPEATS", Repeats(clock))
    output = StringIO()
    telemetry.configure_logs("network", "network-1", "json", "INFO", output)
    return output


def lines(output: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def left_out() -> float:
    return REGISTRY.get_sample_value("territoire_log_lines_left_out_total") or 0.0


def test_a_flood_of_one_event_is_a_few_lines_and_a_count(output: StringIO, clock: Clock) -> None:
    before = left_out()
    log = structlog.get_logger()

    for number in range(1_000):
        log.warning("pass_retried", attempt=number)
    log.warning("another", attempt=0)
    clock.now += 10.0
    log.warning("pass_retried", attempt=1_000)

    told = lines(output)
    assert [line["event"] for line in told] == ["pass_retried"] * int(BURST) + ["another", "pass_retried"]
    assert told[-1]["lines_left_out"] == 1_000 - BURST
    assert left_out() - before == 1_000 - BURST


def test_a_librarys_flood_is_limited_by_where_it_comes_from(output: StringIO, clock: Clock) -> None:
    for number in range(100):
        logging.getLogger("nats").warning("connection %d is gone", number)
    clock.now += 10.0
    for number in (1, 2):
        logging.getLogger("asyncpg").warning("connection %d is gone", number)

    told = lines(output)
    assert len(told) == BURST + 2
    assert told[-1]["event"] == "connection 2 is gone"


async def test_left_out_lines_of_an_event_that_stopped_are_summed_up_once(output: StringIO, clock: Clock) -> None:
    log = structlog.get_logger()
    for _ in range(30):
        log.error("disk_full")

    early = list(telemetry.REPEATS.ended())
    clock.now += REPORTED_AFTER_S
    late, again = list(telemetry.REPEATS.ended()), list(telemetry.REPEATS.ended())

    assert (early, late, again) == ([], [("error disk_full", 10)], [])


def test_memory_of_repeated_lines_is_bounded(clock: Clock) -> None:
    repeats = Repeats(clock)

    for number in range(5_000):
        repeats(None, "info", {"event": f"event {number}"})

    assert len(repeats._known) <= 1_000
