"""How long the work queues' services wait for more to come together, by what the batch before had."""

from typing import Any

import pytest

from ingest.settings import BatchSettings
from ingest.uplink_shards import worker_of as worker_of_uplinks
from network.settings import NetworkServerSettings
from network.uplink_batch import worker_of as worker_of_frames

ANY: Any = None
DATABASE, BUS = "postgresql://a:b@localhost/c", "nats://localhost:4222"


@pytest.mark.parametrize(("last", "seconds"), [(0, 0.0), (19, 0.0), (20, 0.01), (1_500, 0.01)])
def test_network_awaits_what_comes_at_once_for_all_shards(last: int, seconds: float) -> None:
    settings = NetworkServerSettings(database_url=DATABASE, nats_url=BUS, kek="00" * 32, instance="a")

    assert worker_of_frames(ANY, ANY, settings)._pace.linger_s(last) == seconds


@pytest.mark.parametrize(("last", "ms"), [(1, 40), (200, 40), (208, 41.6), (400, 80), (1_000, 200), (4_000, 250)])
def test_ingest_waits_in_proportion_and_less_than_a_bridge_between_two_batches(last: int, ms: float) -> None:
    """Of 2,000 uplinks a second 208 come every 104 ms: a batch is written before the next ones come."""
    settings = BatchSettings(database_url=DATABASE, nats_url=BUS, kek="00" * 32, instance="a")

    assert worker_of_uplinks(ANY, ANY, settings)._pace.linger_s(last) == pytest.approx(ms / 1000)
