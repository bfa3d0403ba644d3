"""A disk that is full for a while."""

import asyncio
import errno
import os
from pathlib import Path

from lab.chaos.case import Act
from lab.chaos.scene import Scene

GROW_BLOCKS, GROW_EVERY_S = 8, 0.05
BLOCK = b"\0" * (1 << 20)


def fill_disk(service: str) -> Act:
    """The folder of this server's data has no octet left for a while."""

    async def act(scene: Scene) -> None:
        await scene.lead()
        folder = scene.small_disks[service]
        ballast = folder / "ballast"
        scene.victims.add(service)
        scene.recover_from_now()
        try:
            # As fast as a disk writes, and no faster.
            while await asyncio.to_thread(_grow, ballast):  # noqa: ASYNC110 - A disk has no event.
                await asyncio.sleep(GROW_EVERY_S)
            scene.recover_from_now()
            loop = asyncio.get_running_loop()
            ends = loop.time() + scene.lasting_s
            while loop.time() < ends:  # What is freed meanwhile, by a dying server, is filled as well.
                await asyncio.sleep(0.5)
                await asyncio.to_thread(_fill, ballast)
        finally:
            ballast.unlink(missing_ok=True)
        scene.recover_from_now()

    return act


def _grow(ballast: Path) -> bool:
    """Append a little; whether all of it had room."""
    try:
        with ballast.open("ab", buffering=0) as file:
            return file.write(BLOCK * GROW_BLOCKS) == len(BLOCK) * GROW_BLOCKS
    except OSError as full:
        if full.errno != errno.ENOSPC:
            raise
        return False


def _fill(ballast: Path) -> None:
    descriptor = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for size in (len(BLOCK), 4096, 1):
            _write_until_full(descriptor, BLOCK[:size])
    finally:
        os.close(descriptor)


def _write_until_full(descriptor: int, block: bytes) -> None:
    while True:
        try:
            os.write(descriptor, block)
        except OSError as full:
            if full.errno != errno.ENOSPC:
                raise
            return
