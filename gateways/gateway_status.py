"""Metrics of the gateways that are connected and of the duty cycle that their radios have used."""

import asyncio

from gateways import gateway_metrics
from gateways.known_gateways import Gateways
from gateways.paths import Paths
from gateways.radio import Radios
from lorawan.identifiers import GatewayId

SHOW_EVERY_S = 5.0


async def show_gateways(gateways: Gateways, paths: Paths, radios: Radios) -> None:
    """Update the metrics every five seconds until cancelled."""
    while True:
        for gateway_id in gateways.ids():
            is_there = paths.frontend_of(GatewayId(gateway_id)) is not None
            gateway_metrics.ONLINE.labels(gateway_id.hex()).set(is_there)
        radios.show()
        await asyncio.sleep(SHOW_EVERY_S)
