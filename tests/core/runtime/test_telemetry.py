import json
import logging
from io import TextIOWrapper
from pathlib import Path

import pytest
import structlog
from prometheus_client import REGISTRY

from core.runtime.telemetry import configure_logs, redact


@pytest.fixture(autouse=True)
def _as_before():
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("app_key", "2b7e"),
        ("password", "x"),
        ("authorization", "Bearer terr_a_b"),
        ("kek", "00"),
        ("secret", "whsec"),
    ],
)
def test_what_is_named_like_a_secret_is_hidden(field: str, value: str) -> None:
    assert redact(None, "info", {field: value}) == {field: "***"}


def test_credentials_inside_an_address_are_hidden() -> None:
    event = redact(None, "info", {"url": "postgresql://user:hunter2@db:5432/territoire"})

    assert event == {"url": "postgresql://***@db:5432/territoire"}


def test_the_name_of_a_key_may_be_seen() -> None:
    assert redact(None, "info", {"kek_id": "kek-1"}) == {"kek_id": "kek-1"}


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
