"""The parts of `bench lighting`: campaigns on a simulated clock, one in real time, and the cost of sweeping."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.progress import Progress

from core.runtime.postgres import connect
from lab.bench.processes import cpu_seconds
from lab.lighting.area import plan_area
from lab.lighting.campaign import ALL_ON, OVERRIDES, PROGRAMS, CampaignKind, assign_program
from lab.lighting.figures import Played
from lab.lighting.play import Databases, play
from lab.lighting.real import play_real
from lab.lighting.registered import register_area
from lab.lighting.report import SWEPT_CORES, Figure, compare, figures_of
from registry.keys import KeyWrap
from registry.rights import OWNER
from registry.schema import migrate
from services.supervisor.run_info import RunInfo, read_run_info

KINDS = {"overrides": OVERRIDES, "programs": PROGRAMS, "all-on": ALL_ON}
PARTS = (*KINDS, "sweep")
WITHIN = {"overrides": timedelta(minutes=90), "programs": timedelta(hours=3), "all-on": timedelta(minutes=10)}
REAL_WITHIN = timedelta(minutes=20)
# One campaign ends earlier than another by chance: the real one is compared with the mean of so many.
SIMULATED_RUNS = 5
SETTLES_S, SWEPT_FOR_S = 20.0, 60.0


async def _database(run: RunInfo, name: str) -> Databases:
    """A database beside the stack's own, which no service knows."""
    admin = await connect(run.database_admin_url, "bench")
    try:
        await admin.execute(f'CREATE DATABASE "{name}"')
    finally:
        await admin.close()
    url = urlsplit(run.database_admin_url)._replace(path=f"/{name}").geturl()
    await migrate(url)
    return Databases(url, f"{url}?role={OWNER}")


async def _play(
    run: RunInfo, part: str, kind: CampaignKind, cabinets: int, gateways: int, console: Console
) -> Played:
    databases = await _database(run, f"banc_{part.replace('-', '_')}")
    within = WITHIN[part]
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"{kind.name} : temps simulé", total=within.total_seconds())

        def show(seconds: float, state: str) -> None:
            progress.update(task, completed=seconds, description=f"{kind.name} : {state}")

        return await play(databases, plan_area(cabinets, gateways), kind, within, show=show)


async def measure(
    run: RunInfo, cabinets: int, gateways: int, parts: Sequence[str], console: Console
) -> dict[str, list[Figure]]:
    """The parts that are asked for, by their titles."""
    measured: dict[str, list[Figure]] = {}
    for part in parts:
        if part in KINDS:
            played = await _play(run, part, KINDS[part], cabinets, gateways, console)
            measured[KINDS[part].name] = figures_of(played)
        else:
            measured["Relire chaque seconde"] = await _sweeping(run, cabinets, gateways, console)
    return measured


async def measure_real_time(run: RunInfo, cabinets: int, console: Console) -> dict[str, list[Figure]]:
    """The campaign of overrides on one gateway through the services, beside the same as discrete events."""
    area = plan_area(cabinets, 1)
    real = await play_real(run, area, REAL_WITHIN, console)
    simulated: list[Played] = []
    for number in range(SIMULATED_RUNS):
        databases = await _database(run, f"banc_{number}")
        simulated.append(
            await play(databases, area, OVERRIDES, WITHIN["overrides"], seed=f"run {number}", probes=1_000)
        )
        console.print(f"événements discrets {number + 1} sur {SIMULATED_RUNS}", highlight=False)
    return {
        "En temps réel": figures_of(real),
        f"Temps réel contre {SIMULATED_RUNS} fois les événements discrets": compare(real, simulated),
    }


async def _sweeping(run: RunInfo, cabinets: int, gateways: int, console: Console) -> list[Figure]:
    """Of the lighting service and PostgreSQL, while every cabinet has a program and nothing is asked of any."""
    admin = await connect(run.database_admin_url, "bench")
    try:
        async with admin.transaction():
            keys = KeyWrap(run.kek_id, bytes.fromhex(run.kek))
            area = plan_area(cabinets, gateways)
            registered = await register_area(admin, area, "banc", datetime.now(UTC), keys)
            await assign_program(admin, registered.tenant_id)
        await admin.execute("ANALYZE")
    finally:
        await admin.close()
    console.print(f"{cabinets} armoires relues pendant {SWEPT_FOR_S:.0f} s", highlight=False)
    await asyncio.sleep(SETTLES_S)
    services = read_run_info(Path(run.home)).services
    pids = {one.name: one.pid for one in services if one.pid is not None and one.name in {"lighting", "postgres"}}
    before, began = cpu_seconds(pids), time.monotonic()
    await asyncio.sleep(SWEPT_FOR_S)
    took_s, after = time.monotonic() - began, cpu_seconds(pids)
    cores = {name: (after[name] - before[name]) / took_s for name in pids}
    whole = sum(cores.values())
    by_process = ", ".join(f"{name} {share:.3f}" for name, share in sorted(cores.items()))
    return [
        Figure(
            f"{cabinets} armoires relues chaque seconde",
            f"{whole:.3f} cœur ({by_process})",
            f"moins de {SWEPT_CORES}",
            whole < SWEPT_CORES and len(pids) == 2,  # noqa: PLR2004 - Both were found.
        )
    ]
