"""What `bench indicators` measures of rounds: one of 88 bins, from the question to the stops in their order."""

import statistics
import time
from datetime import timedelta
from typing import Any

import msgspec

from core.runtime.postgres import Pool
from lab.bench.indicator_world import World
from lab.bench.list_pages import Asker
from lab.bench.processes import cpu_seconds
from lab.bench.queries import BINS
from lab.fleet.plan import CENTRE, EXTENT
from services.supervisor.run_info import RunInfo

GOAL_MS = 5_000.0
PICK = """
SELECT a.id FROM asset a JOIN datastream d ON d.asset_id = a.id AND d.quantity = 'fill_level'
WHERE a.tenant_id = $1 AND a.kind = 'glass_container' ORDER BY md5(a.id::text) LIMIT $2
"""


class RoundFigures(msgspec.Struct, frozen=True):
    """A round: how many bins are on its way, milliseconds, CPU of the API with its solver, and of PostgreSQL."""

    bins: int
    planned: int
    median_ms: float
    client_cpu_ms: float
    server_cpu_ms: float

    @property
    def is_reached(self) -> bool:
        """In time."""
        return self.median_ms <= GOAL_MS


async def measure_round(run: RunInfo, pool: Pool, world: World, runs: int) -> RoundFigures:
    """The same round again and again: all of these bins, whatever their level."""
    assets = [row["id"] for row in await pool.fetch(PICK, world.tenant_id, BINS)]
    asker = Asker(run, world.key)
    wanted: dict[str, Any] = {
        "planned_for": (world.today + timedelta(days=1)).isoformat(),
        "include_asset_ids": assets,
        "threshold": 100,
        "forecast_threshold": 100,
        "default_volume_l": 4_000,
        "trucks": 4,
        "truck_volume_l": 25_000,
        "truck_weight_kg": 11_000,
        "opens_at": "05:00",
        "closes_at": "20:00",
        "depot": {"latitude": CENTRE[0], "longitude": CENTRE[1] - EXTENT[1] / 2},
        "outlet": {"latitude": CENTRE[0], "longitude": CENTRE[1] + EXTENT[1] / 2},
    }
    times, planned, before = list[float](), 0, cpu_seconds(asker.pids)
    for _ in range(runs):
        began = time.perf_counter()
        answer = asker.client.post("/v1/rounds", json=wanted).raise_for_status().json()
        times.append((time.perf_counter() - began) * 1_000)
        planned = sum(one["left_reason"] is None for one in answer["bins"])
    after = cpu_seconds(asker.pids)
    client, server = ((after[name] - before[name]) * 1_000 / runs for name in ("api", "postgres"))
    return RoundFigures(
        len(assets), planned, round(statistics.median(times), 1), round(client, 1), round(server, 1)
    )


def line(one: RoundFigures) -> str:
    """For people."""
    return (
        f"tournée de {one.bins} bornes, {one.planned} desservies : {one.median_ms:.0f} ms (objectif "
        f"{GOAL_MS:.0f}), processeur {one.client_cpu_ms:.0f} ms de l'API et de son calcul, "
        f"{one.server_cpu_ms:.0f} de PostgreSQL"
    )
