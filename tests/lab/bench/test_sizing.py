"""The arithmetic by hand, and the document's tables against it."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from core.messages import topics
from core.runtime.postgres import connect
from core.runtime.streams import STREAMS
from lab.bench.sizing import DAY_S, FRAMES_OCTETS, MEASURED, Assumed, Measured, Need, number, octets, tables
from services.ingest.settings import IngestSettings
from services.maintenance.settings import MaintenanceSettings

DOCUMENT = Path(__file__).parents[3] / "docs" / "scaling.md"
ROUND = Measured(
    row_octets=dict.fromkeys(
        ("uplink", "reception", "measurement", "uplink_seen", "rollup_hour", "rollup_day"), (60.0, 40.0)
    ),
    device_octets=1_000,
    log_octets=1_000,
    first_log_octets=9_000,
    bus_octets={"frames": 100.0, "uplinks": 100.0, "measurements": 100.0},
    datagram_octets=250,
    fixed_cores=0.5,
    uplink_us={"gateway_bridge": 20.0, "network": 20.0, "ingest": 30.0, "alerting": 10.0, "postgres": 20.0},
    copy_us=20.0,
    megabytes={"network": (70.0, 2.0)},
)
# A report an hour, one copy, one value, nothing busier than the mean.
PLAIN = Assumed(sensor_share=1.0, sensor_per_hour=1.0, values=1.0, copies=1.0, peak=1.0, margin=1.0)


def need(devices: int = 3_600_000, assumed: Assumed = PLAIN) -> Need:
    return Need(devices, ROUND, assumed)


def test_an_hourly_report_of_3_600_000_devices_is_a_thousand_frames_a_second() -> None:
    assert need().mean == 1_000
    assert need(assumed=replace(PLAIN, peak=5.0)).peak == 5_000
    assert Assumed().per_hour == pytest.approx(0.95 * 4 + 0.05 * 12)


def test_cores_are_what_uplinks_and_further_copies_take() -> None:
    assert need().cores == pytest.approx(0.5 + 1_000 * 100e-6)
    assert need(assumed=replace(PLAIN, copies=2.5)).cores == pytest.approx(0.5 + 1_000 * (100 + 1.5 * 20) * 1e-6)
    assert need(assumed=replace(PLAIN, margin=2.0)).cores == pytest.approx(1.2)


def test_a_service_has_two_replicas_and_more_when_they_would_be_half_busy() -> None:
    assert need().replicas("ingest") == 2
    assert need(assumed=replace(PLAIN, peak=100.0)).replicas("ingest") == 6


def test_a_year_of_rows_is_their_octets() -> None:
    rows = 1_000 * 31_557_600
    assert need().table_year("measurement") == pytest.approx(rows * 100)
    assert need().year == pytest.approx(rows * (100 + 100 + 100 + 100 + 100 / 24))
    assert need().year_compressed(10) == pytest.approx(need().year - rows * 90)


def test_a_full_stream_and_the_log_of_a_day_by_hand() -> None:
    assert need().full_after_s(1_000_000) == pytest.approx(10)
    # Reports and checkpoints are as frequent as each other: every uplink is the first of its device.
    assert need(assumed=replace(PLAIN, checkpoint_s=3_600)).log * DAY_S == pytest.approx(86_400_000 * 9_000)
    assert need(assumed=replace(PLAIN, checkpoint_s=14_400)).log * DAY_S == pytest.approx(86_400_000 * 3_000)
    assert next(one.max_bytes for one in STREAMS if one.name == topics.FRAMES) == FRAMES_OCTETS


def test_retention_is_that_of_the_settings() -> None:
    kept = MaintenanceSettings.model_fields
    assert Assumed().measurement_months == kept["keep_measurements_months"].default
    assert Assumed().uplink_months == kept["keep_uplinks_months"].default
    assert IngestSettings.model_fields["pool_size"].default == 4


@pytest.mark.parametrize(
    ("value", "said"), [(12_345, "12 000"), (0.0456, "0,046"), (4.0, "4"), (1.52, "1,5"), (99.6, "100"), (0, "0")]
)
def test_numbers_have_two_figures_that_count(value: float, said: str) -> None:
    assert number(value).replace("\N{NO-BREAK SPACE}", " ") == said


def test_octets_have_the_unit_that_fits() -> None:
    assert octets(1_500_000_000).replace("\N{NO-BREAK SPACE}", " ") == "1,5 Go"
    assert octets(999).replace("\N{NO-BREAK SPACE}", " ") == "1 000 octets"


def test_the_document_has_these_tables() -> None:
    """`python -m bench.sizing` prints them."""
    text = DOCUMENT.read_text("utf-8")

    for made in tables().split("\n\n"):
        assert made in text


def test_what_the_document_says_was_measured_is_what_is_reckoned_with() -> None:
    text = DOCUMENT.read_text("utf-8").replace("\N{NO-BREAK SPACE}", " ")
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \| ([\d,]+) \|", text, re.MULTILINE)

    said = {name: (float(heap.replace(",", ".")), float(index.replace(",", "."))) for name, heap, index in rows}
    assert said == {name: tuple(sizes) for name, sizes in MEASURED.row_octets.items()}


async def test_the_document_s_command_for_smaller_chunks_works_on_this_edition(database) -> None:
    [statement] = re.findall(r"`(SELECT\s+set_chunk_time_interval[^`]+)`", DOCUMENT.read_text("utf-8"))
    connection = await connect(database.admin_url)
    await connection.execute(" ".join(statement.split()))
    interval = await connection.fetchval(
        "SELECT time_interval FROM timescaledb_information.dimensions WHERE hypertable_name = 'measurement'"
    )
    await connection.close()

    assert interval == timedelta(days=1)
