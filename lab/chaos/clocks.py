"""Wall clocks that jump by an hour while services run, forwards and backwards; what counts seconds stays right."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from lab.chaos.faults import Act, Around, clock_library
from lab.chaos.processes import CaseFailed
from lab.chaos.scene import Scene

HOUR_S = 3_600
# libfaketime reads its file again after so long.
READ_EVERY_S = 1
READY_WITHIN_S = 60.0
RIGHT = 0


def with_clocks(*services: str) -> Around:
    """These services read their wall clocks through libfaketime, right at first; the act sets them."""

    @asynccontextmanager
    async def around(scene: Scene) -> AsyncGenerator[None]:
        library = clock_library()
        with tempfile.TemporaryDirectory(prefix="territoire-clocks-") as folder:
            file = scene.clock = Path(folder) / "offset"
            await asyncio.to_thread(set_clock, file, RIGHT)
            environment = environment_of(library, file)
            try:
                await asyncio.gather(*(scene.processes.replace(service, environment) for service in services))
                unready = await scene.processes.until_ready(READY_WITHIN_S)
                if unready:
                    raise CaseFailed(f"{', '.join(unready)} : pas prêt avec une horloge à régler")
                yield
            finally:
                await asyncio.gather(*(scene.processes.give_back(service) for service in services))
                await scene.processes.until_ready(READY_WITHIN_S)

    return around


def environment_of(library: Path, file: Path) -> dict[str, str]:
    """What a process is started with whose wall clock follows the file."""
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": str(READ_EVERY_S),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def jump(*offsets: int) -> Act:
    """The clocks are off by so many seconds, one after the other, and right in between."""

    async def act(scene: Scene) -> None:
        await scene.lead()
        assert scene.clock is not None
        pause_s = scene.lasting_s / (2 * len(offsets))
        for offset in offsets:
            for to in (offset, RIGHT):
                await asyncio.to_thread(set_clock, scene.clock, to)
                word = "à l'heure" if to == RIGHT else f"{to / HOUR_S:+.0f} h"
                scene.recover_from(f"horloges {word}{'' if to else f' après {offset / HOUR_S:+.0f} h'}")
                await asyncio.sleep(pause_s)

    return act


def set_clock(file: Path, offset_s: int) -> None:
    """In one step: nobody reads half of it."""
    fresh = file.with_suffix(".new")
    fresh.write_text(f"{offset_s:+d}\n", "ascii")
    fresh.chmod(0o644)
    fresh.rename(file)
