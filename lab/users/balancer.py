"""A stand-in for the load balancer in front of the bridges."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from lab.load.load import Load
from services.supervisor.loopback import answers_ok
from services.supervisor.run_info import ServiceInfo

PROBE_BRIDGES_EVERY_S = 0.5


@dataclass(slots=True)
class Balancer:
    """Stands in front of the bridges: each gateway has one of its own, and another while that is not ready."""

    load: Load
    bridges: Sequence[ServiceInfo]
    turns: int = 0

    async def run(self) -> None:
        """Look every half second, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(PROBE_BRIDGES_EVERY_S)

    async def look(self) -> None:
        """Ask who is ready, and turn the gateways to those that are."""
        ready = [await answers_ok(f"{bridge.health_url}/readyz") for bridge in self.bridges]
        usable = [bridge for bridge, is_ready in zip(self.bridges, ready, strict=True) if is_ready]
        for number, gateway in enumerate(self.load.gateways):
            own = self.bridges[number % len(self.bridges)]
            bridge = own if own in usable or not usable else usable[number % len(usable)]
            server = (gateway.server[0], bridge.ports["udp"])
            if gateway.server != server:
                gateway.turn_to(server)
                self.turns += 1

    def behind(self, bridge: ServiceInfo) -> frozenset[bytes]:
        """The gateways that speak with this bridge now."""
        port = bridge.ports["udp"]
        return frozenset(bytes(one.gateway_id) for one in self.load.gateways if one.server[1] == port)
