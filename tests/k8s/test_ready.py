"""A process that lives and does not do its work rings: as it shows itself, by the rules as they are applied."""

import asyncio
import time
from pathlib import Path

from services.supervisor.ports import free_tcp_port
from tests.k8s.conftest import render
from tests.services.test_dependencies_away import started
from tests.system.alarm_stage import Scrape, Stage, play, written_test

SERVICE = "lighting"
LOOK_EVERY_S = 1.0
RINGING = 'count by (app_kubernetes_io_name) (ALERTS{alertname="ServicePasPret",alertstate="firing"})'


async def shown() -> list[Scrape]:
    """What it shows where nothing listens at the address of its database."""
    away = f"postgresql://x:y@127.0.0.1:{free_tcp_port()}/z"
    scrapes = list[Scrape]()
    async with started(SERVICE, away, "nats://127.0.0.1:1") as process:
        await process.says("database_waited_for")
        assert [(await process.status(page))[0] for page in ("/livez", "/readyz")] == [200, 503]
        for _ in range(3):
            scrapes.append(Scrape(time.time(), SERVICE, await process.metrics()))
            await asyncio.sleep(LOOK_EVERY_S)
    return scrapes


async def test_a_service_with_a_wrong_database_wakes_somebody(tmp_path: Path) -> None:
    stage = Stage.of(await shown(), {"territoire_ready"}, 15).carried_on(1 / 6)
    rings = {f'{{app_kubernetes_io_name="{SERVICE}"}}': 1.0}
    tests = [written_test("away", stage, [(4 * 60, RINGING, {}), (7 * 60, RINGING, rings)])]
    for overlay in ("staging", "production"):
        groups = [group for one in render(overlay).of("PrometheusRule") for group in one["spec"]["groups"]]
        wrong = play({"groups": groups}, tests, tmp_path)
        assert not wrong, wrong
