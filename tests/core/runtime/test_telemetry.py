import json
import logging
import threading
from io import TextIOWrapper
from pathlib import Path

import pytest
import structlog
from prometheus_client import REGISTRY

from core import VERSION
from core.runtime.telemetry import configure_logs, show_build


def test_an_event_is_one_line_of_json_with_its_service(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("network", "network-1", "json", "INFO")
    structlog.get_logger().info("uplink_refused", reason="replay")
    line = json.loads(capsys.readouterr().out)

    assert line["event"] == "uplink_refused"
    assert (line["service"], line["instance"], line["level"], line["reason"]) == (
        "network",
        "network-1",
        "info",
        "replay",
    )


def test_a_librarys_warning_is_a_line_of_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("network", "network-1", "json", "INFO")
    logging.getLogger("asyncpg").warning("Failed to restore the pool connection floor")
    line = json.loads(capsys.readouterr().out)

    assert line["event"] == "Failed to restore the pool connection floor"
    assert line["service"] == "network"


def lines_lost() -> float:
    return REGISTRY.get_sample_value("territoire_log_lines_lost_total") or 0.0


def test_a_full_disk_costs_the_line_and_not_the_work_that_logs_it() -> None:
    before = lines_lost()

    with Path("/dev/full").open("wb", buffering=0) as full:
        configure_logs("network", "network-1", "json", "INFO", TextIOWrapper(full, write_through=True))
        structlog.get_logger().warning("pass_retried")
        logging.getLogger("asyncpg").warning("Failed to restore the pool connection floor")

    assert lines_lost() == before + 2


def test_the_metrics_say_which_program_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRITOIRE_REVISION", "1debf3f")

    show_build("network")

    [sample] = [
        sample
        for metric in REGISTRY.collect()
        if metric.name == "territoire_build_info"
        for sample in metric.samples
        if sample.labels["revision"] == "1debf3f"
    ]
    assert (sample.labels["service"], sample.labels["version"], sample.value) == ("network", VERSION, 1)


def test_a_line_from_a_librarys_own_thread_says_whose_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("network", "network-1", "json", "INFO")
    thread = threading.Thread(target=logging.getLogger("opentelemetry").warning, args=("not sent",))

    thread.start()
    thread.join()
    line = json.loads(capsys.readouterr().out)

    assert (line["event"], line["service"], line["instance"]) == ("not sent", "network", "network-1")
