"""Suspends a codec version that overran; the same transaction asks for an alert."""

from contextlib import suppress
from datetime import UTC, datetime

import structlog

from core.messages import topics
from core.runtime.bus import BUS_AWAY, Bus
from core.runtime.postgres import Pool
from ingest.telemetry import CODECS_SUSPENDED
from registry.alert_requests import request_codec_alerts
from registry.codecs import quarantine_version

REASON = "cinq dépassements du temps de calcul ou de la mémoire en dix minutes"

log = structlog.get_logger()


class Suspension:
    """Suspends versions, once each."""

    def __init__(self, pool: Pool, bus: Bus) -> None:
        self._pool = pool
        self._bus = bus

    async def suspend(self, version_id: int) -> None:
        """Suspend the version on every replica within 5 s; raises one of DATABASE_AWAY."""
        async with self._pool.acquire() as connection, connection.transaction():
            if not await quarantine_version(connection, version_id, REASON):
                return
            await request_codec_alerts(connection, version_id, datetime.now(UTC))
        CODECS_SUSPENDED.inc()
        log.error("codec_version_suspended", codec_version_id=version_id, reason=REASON)
        with suppress(*BUS_AWAY):  # Without the nudge the replicas read it within 5 s.
            await self._bus.nudge(topics.REGISTRY_CHANGED)
