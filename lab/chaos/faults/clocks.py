"""Wall clocks that jump by an hour while services run, forwards and backwards; what counts seconds stays right."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from lab.chaos.case import Act, Around
from lab.chaos.outcome import NotRun
from lab.chaos.scene import Scene

HOUR_S = 3_600
# libfaketime reads its file again after so long.
READ_EVERY_S = 1
RIGHT = 0
LIBRARY = "libfaketimeMT.so.1"
OF_ALL = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}


def with_clocks(*services: str) -> Around:
    """These services read their wall clocks through libfaketime, right at first; the act sets them."""

    @asynccontextmanager
    async def around(scene: Scene) -> AsyncGenerator[None]:
        library = clock_library()
        with tempfile.TemporaryDirectory(prefix="territoire-clocks-") as folder:
            file = scene.clock = Path(folder) / "offset"
            await asyncio.to_thread(set_clock, file, RIGHT)
            environment = environment_of(library, file)
            async with scene.processes.replaced(dict.fromkeys(services, environment), "avec une horloge à régler"):
                yield

    return around


def environment_of(library: Path, file: Path) -> dict[str, str]:
    """What a process is started with whose wall clock follows the file."""
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": str(READ_EVERY_S),
        **OF_ALL,
    }


def clock_library() -> Path:
    """libfaketime, that gives a process another wall clock.

    Raises:
        NotRun: it is not installed here.
    """
    for folder in Path("/usr/lib").glob("*/faketime"):
        if (folder / LIBRARY).exists():
            return folder / LIBRARY
    raise NotRun("libfaketime est introuvable : installez le paquet Debian faketime")


def with_clock_off(service: str, seconds: int) -> Around:
    """While the load lasts the wall clock of this service alone is wrong by so much, its monotonic one right."""

    @asynccontextmanager
    async def around(scene: Scene) -> AsyncGenerator[None]:
        wrong = {"LD_PRELOAD": str(clock_library()), "FAKETIME": f"{seconds:+d}s", **OF_ALL}
        async with scene.processes.replaced({service: wrong}, "avec une horloge fausse"):
            scene.recover_from_now()
            yield

    return around


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
