"""Asks the operator's OSRM how far it is; where it does not say, lines through the air stand in, and say so."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog

from core.runtime.errors import describe
from core.runtime.http.guarded_client import AllowList, ForbiddenDestination, GuardedTransport
from core.runtime.tls import client_tls
from indicators.waste.rounds.distances import UnusableDistances, great_circle, osrm_blocks, osrm_distances
from indicators.waste.rounds.model import Distances, Place

WITHIN_S = 20.0
ANSWER_MOST = 4 << 20
FALLBACK = "OSRM n'a pas répondu ce qu'il fallait : distances à vol d'oiseau multipliées par 1,3"

log = structlog.get_logger()


async def road_distances(base: str, places: Sequence[Place], speed_kmh: float) -> Distances:
    """By road from the OSRM at this address, which its operator has set; else as the crow flies, with a note."""
    try:
        return await _ask(base.rstrip("/"), places)
    except UnusableDistances as unusable:
        log.warning("osrm_unusable", error=str(unusable))
        return great_circle(places, speed_kmh, f"{FALLBACK} ({unusable})")
    except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, OSError, ForbiddenDestination, ValueError) as failed:
        log.warning("osrm_failed", error=describe(failed))
        return great_circle(places, speed_kmh, FALLBACK)


async def _ask(base: str, places: Sequence[Place]) -> Distances:
    host = urlsplit(base).hostname or ""
    # Set by whoever exploits the platform: it may be in their own network, and nowhere else.
    transport = GuardedTransport(client_tls(), AllowList.parse([host]), permit_http=True)
    answers: list[tuple[range, range, Any]] = []
    async with (
        asyncio.timeout(WITHIN_S),
        httpx.AsyncClient(
            transport=transport, trust_env=False, follow_redirects=False, timeout=WITHIN_S
        ) as client,
    ):
        for rows, columns, path in osrm_blocks(places):
            answers.append((rows, columns, await _read(client, base + path)))
    return osrm_distances(len(places), answers)


async def _read(client: httpx.AsyncClient, address: str) -> Any:
    text = b""
    async with client.stream("GET", address) as response:
        async for part in response.aiter_bytes():
            text += part
            if len(text) > ANSWER_MOST:
                raise UnusableDistances("réponse démesurée")
    return json.loads(text)
