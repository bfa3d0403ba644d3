"""Part of `bench network`: frames per second and core through the network service, and that run's ceiling."""

import asyncio
import gc
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from lab.bench.network_ceiling import NATS_URL, URL, CeilingMissed, Drained
from lab.bench.network_load import MESSAGE_FRAMES, BusLoad, open_bus_load
from lab.bench.processes import cpu_seconds
from lab.bench.report import median_of
from services.supervisor.run_info import RunInfo, read_run_info

DEVICES = 2_000
GATEWAYS = 120
FRAMES_EACH = 100
# Warm-up: what is asked of a device's MAC layer is asked with its first uplinks.
WARM_UPS = 3
WARM_UP_PAUSE_S = 2.5
SERVERS = ("network", "postgres", "nats")


@dataclass(frozen=True, slots=True)
class OneRun:
    """One run: the same number of frames through the service, and through the ceiling."""

    frames: int
    seconds: float
    cpu_s: dict[str, float]
    ceiling: Drained

    def as_dict(self) -> dict[str, Any]:
        """The figures of this run."""
        network_s, ceiling = self.cpu_s["network"], self.ceiling
        per_core, most = self.frames / network_s, ceiling.frames / ceiling.cpu_s
        return {
            "frames": self.frames,
            "frames_per_second": round(self.frames / self.seconds),
            "frames_per_second_per_core": round(per_core),
            "cpu_us_per_frame": {name: round(cpu * 1e6 / self.frames, 1) for name, cpu in self.cpu_s.items()},
            "ceiling_frames_per_second": round(ceiling.frames / ceiling.seconds),
            "ceiling_frames_per_second_per_core": round(most),
            "ceiling_cpu_us_per_frame": round(ceiling.cpu_s * 1e6 / ceiling.frames, 1),
            "ratio_to_ceiling": round(per_core / most, 3),
        }


def _cpu(run: RunInfo) -> dict[str, float]:
    services = read_run_info(Path(run.home)).services
    return cpu_seconds({one.name: one.pid for one in services if one.name in SERVERS and one.pid is not None})


async def _ceiling(run: RunInfo, frames: int) -> Drained:
    """Raises CeilingMissed with what the process said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "lab.bench.network_ceiling", str(frames), str(MESSAGE_FRAMES)),
        env={**os.environ, URL: run.database_admin_url, NATS_URL: run.nats_url},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    if process.returncode != 0:
        raise CeilingMissed(errors.decode()[-2_000:])
    sys.stderr.write(errors.decode())
    return msgspec.json.decode(output, type=Drained)


async def _one_run(run: RunInfo, load: BusLoad, console: Console) -> OneRun:
    frames = load.frames(FRAMES_EACH)
    gc.collect()
    before = _cpu(run)
    took = await load.play(frames)
    await load.check_sessions()
    after = _cpu(run)
    spent = {name: after[name] - before[name] for name in SERVERS}
    one = OneRun(len(frames), took, spent, await _ceiling(run, len(frames)))
    figures = one.as_dict()
    console.print(
        f"  {figures['frames_per_second_per_core']} trames/s par cœur "
        f"({figures['cpu_us_per_frame']['network']} µs), plafond "
        f"{figures['ceiling_frames_per_second_per_core']}, rapport {figures['ratio_to_ceiling']:.2f}",
        highlight=False,
    )
    return one


async def measure_throughput(run: RunInfo, runs: int, console: Console) -> dict[str, Any]:
    """Medians over `runs` runs on a running stack of PostgreSQL, nats-server, network and api.

    Raises:
        ProvisioningFailed, TimeoutError, UplinksLost, CeilingMissed: the message says what happened.
    """
    async with open_bus_load(run, DEVICES, GATEWAYS) as load:
        console.print(f"{len(load.devices)} équipements activés, {runs} mesures", highlight=False)
        for _ in range(WARM_UPS):
            await load.play(load.frames(1))
            await asyncio.sleep(WARM_UP_PAUSE_S)
        found = [await _one_run(run, load, console) for _ in range(runs)]
    return {**median_of([one.as_dict() for one in found]), "runs": runs, "devices": DEVICES, "is_exact": True}
