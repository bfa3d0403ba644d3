"""How long others wait while somebody behaves badly: from a gateway to committed, and for an answer of the API."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from core.messages import topics
from core.messages.measurements import MEASUREMENT_BATCHES
from lab.chaos.scene import SECOND_US, Scene
from lab.radio.clock import now_us

ASKED_EVERY_S, ASKED_WITHIN_S = 0.1, 30.0
PATH = "/v1/devices?limit=20"
# Up to there nobody is kept waiting, whatever is usual on this machine: what is promised of uplinks at 2,000/s.
PROMISED_S = 0.5
MOST_TIMES = 2.0
SHARE = 0.99


def percentile(waits: Sequence[float], share: float = SHARE) -> float:
    """The wait that this share of them does not exceed; 0 of none."""
    ordered = sorted(waits)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


@dataclass(slots=True)
class Waits:
    """Of uplinks and requests of one phase, in seconds; requests that failed besides."""

    uplinks: list[float] = field(default_factory=list[float])
    requests: list[float] = field(default_factory=list[float])
    failed: list[str] = field(default_factory=list[str])


@dataclass(slots=True)
class Bystanders:
    """Those who do nothing wrong: the load's devices, and somebody who reads a list."""

    waits: Waits = field(default_factory=Waits)
    usual: Waits = field(default_factory=Waits)

    def begin(self) -> None:
        """What was until now is what is usual."""
        self.usual, self.waits = self.waits, Waits()

    def findings(self) -> list[str]:
        """Who has waited more than twice as long as usual, and longer than is promised."""
        found = (
            [f"{len(self.waits.failed)} réponses d'autrui manquées ({self.waits.failed[0]})"]
            if (self.waits.failed)
            else []
        )
        for what, waits in (("trame", self.waits.uplinks), ("requête", self.waits.requests)):
            found += [] if waits else [f"aucune {what} d'autrui : rien n'est montré"]
        for what, now, before in self._compared():
            if now > max(MOST_TIMES * before, PROMISED_S):
                found.append(f"{what} : p99 de {now * 1000:.0f} ms au lieu de {before * 1000:.0f}")
        return found

    def figures(self) -> list[str]:
        """For the report."""
        return [
            f"{what} : p99 {before * 1000:.0f} ms, puis {now * 1000:.0f} ms"
            for what, now, before in self._compared()
        ]

    def _compared(self) -> list[tuple[str, float, float]]:
        return [
            ("trames d'autrui", percentile(self.waits.uplinks), percentile(self.usual.uplinks)),
            ("requêtes d'autrui", percentile(self.waits.requests), percentile(self.usual.requests)),
        ]


@asynccontextmanager
async def bystanders(scene: Scene) -> AsyncGenerator[Bystanders]:
    """Watched until the block ends."""
    watched = Bystanders()

    async def measured(_subject: str, data: bytes) -> None:
        at_us, items = now_us(), MEASUREMENT_BATCHES.decode(data)
        # One for each uplink: its values have one instant.
        watched.waits.uplinks += [(at_us - instant) / SECOND_US for instant in {item.time_us for item in items}]

    subscription = await scene.bus.subscribe(topics.ALL_MEASUREMENTS, measured)
    asking = asyncio.create_task(_ask(scene, watched), name="ask for a list")
    try:
        yield watched
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await subscription.unsubscribe()


async def _ask(scene: Scene, watched: Bystanders) -> None:
    headers = {"Authorization": f"Bearer {scene.load.api_key}"}
    url = scene.processes.run.api_url
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=ASKED_WITHIN_S, trust_env=False) as client:
        while True:
            began = time.monotonic()
            try:
                answer = await client.get(PATH)
                if not answer.is_success:
                    watched.waits.failed.append(str(answer.status_code))
            except httpx.HTTPError as failed:
                watched.waits.failed.append(type(failed).__name__)
            watched.waits.requests.append(time.monotonic() - began)
            await asyncio.sleep(max(0.0, ASKED_EVERY_S - (time.monotonic() - began)))
