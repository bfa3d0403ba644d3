"""One, two, then three servers of a bus of three are gone, and come back."""

import asyncio
import signal
import time
from collections.abc import Sequence

import msgspec

from core.messages import topics
from core.runtime.bus import BUS_AWAY
from lab.chaos.case import Act
from lab.chaos.outcome import CaseFailed
from lab.chaos.scene import Scene
from lab.chaos.stack.processes import send
from lab.radio.clock import now_us
from services.supervisor.stack_options import BUS

BACK_WITHIN_S, LOOK_EVERY_S = 60.0, 0.5
WORDS = {1: "un serveur", 2: "deux serveurs", 3: "trois serveurs"}
STREAMS = (topics.FRAMES, topics.UPLINKS, topics.MEASUREMENTS)


class _Cluster(msgspec.Struct):
    leader: str = ""


class _Info(msgspec.Struct):
    cluster: _Cluster | None = None


def lose_servers(away_s: float) -> Act:
    """The one that leads the most streams; then a second one besides; then all: each time for so long."""

    async def act(scene: Scene) -> None:
        await scene.lead()
        for lost in (1, 2, 3):
            names = (await _leaders_first(scene))[:lost]
            for name in names:
                scene.processes.hold(name)
                send(scene.processes.pids(name)[name], signal.SIGKILL)
            scene.cut_off(BUS, now_us())
            if lost == 1:  # Two of three are a majority: nobody waits until it is back.
                scene.recover_from(f"{WORDS[lost]} parti")
            await asyncio.sleep(away_s)
            for name in names:
                scene.processes.let_go(name)
            scene.recover_from(f"{WORDS[lost]} de retour")
            await _until_whole(scene, lost)
            await scene.until_recovered()  # What the next loss costs is its own.

    return act


async def _leaders_first(scene: Scene) -> list[str]:
    """The children, who leads most streams first; of equals, who leads MEASUREMENTS."""
    leads = [await _leader(scene, stream) for stream in STREAMS]
    names = sorted(scene.processes.pids(BUS))
    return sorted(names, key=lambda name: -sum(leader.endswith(name.removeprefix(BUS)) for leader in leads))


async def _leader(scene: Scene, stream: str) -> str:
    answer = await scene.bus.request(f"$JS.API.STREAM.INFO.{stream}", b"", 5)
    return (msgspec.json.decode(answer, type=_Info).cluster or _Cluster()).leader


async def _until_whole(scene: Scene, lost: int) -> None:
    """Return once each server answers, and each stream has all of its copies."""
    deadline = time.monotonic() + BACK_WITHIN_S
    missing: Sequence[str] = ("?",)
    while missing:
        if time.monotonic() > deadline:
            raise CaseFailed(f"après la perte de {WORDS[lost]} : {', '.join(missing)}")
        missing = await scene.processes.until_ready(0) or await _incomplete(scene)
        await asyncio.sleep(LOOK_EVERY_S)


async def _incomplete(scene: Scene) -> list[str]:
    found: list[str] = []
    for stream in STREAMS:
        try:
            room = await scene.bus.room(stream)
        except BUS_AWAY:
            room = None
        if room is None or room.copies_missing:
            found.append(f"{stream} sans toutes ses copies")
    return found
