"""Rejected frames, added up in memory and written every few seconds."""

import asyncio

import structlog

from core.runtime.clock import WallClock, wall_clock_us
from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY, ForeignKeyViolationError, Pool
from lorawan.rejections import RejectReason
from network.telemetry import REFUSALS_LEFT_OUT
from registry.rejections import RejectionSeen, save_rejections

SAVE_EVERY_S = 5.0
# Between two saves: anybody can send frames of devices that do not exist. Beyond, they are counted only, and
# recorded when they come again.
MOST = 500


class RejectionLog:
    """Rejected frames since the last save, one entry for what they name, the reason and the device."""

    def __init__(self, pool: Pool, clock: WallClock = wall_clock_us) -> None:
        self._pool = pool
        self._clock = clock
        self._seen: dict[tuple[bytes, RejectReason, int], RejectionSeen] = {}
        self._log = structlog.get_logger()

    def record_rejection(
        self, subject: bytes, reason: RejectReason, device_id: int, gateway_id: bytes, dev_nonce: int | None = None
    ) -> None:
        """Record a rejection, to be saved with the next `save`.

        Args:
            subject: the DevAddr, or the DevEUI of a join-request; empty when the frame could not be read that far.
            reason: as the metrics have it, too.
            device_id: 0 when the device is not known.
            gateway_id: one that received it.
            dev_nonce: of a join-request of a device that we know.
        """
        if not subject:
            return
        key = (subject, reason, device_id)
        seen = self._seen.get(key)
        if seen is None:
            if len(self._seen) >= MOST:
                REFUSALS_LEFT_OUT.inc()
                return
            self._seen[key] = seen = RejectionSeen(subject, reason, device_id, gateway_id, self._clock())
        seen.times += 1
        seen.gateway_id, seen.last_us = gateway_id, self._clock()
        seen.dev_nonce = seen.dev_nonce if dev_nonce is None else dev_nonce

    def clear_join_rejections(self, dev_eui: bytes) -> None:
        """The device's join was accepted: earlier rejections of its joins need nobody's attention any more."""
        for (subject, _, _), seen in self._seen.items():
            if subject == dev_eui:
                seen.forgiven = seen.times

    async def run(self) -> None:
        """Save every 5 s until cancelled."""
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            await self.save()

    async def save(self) -> None:
        """Write what was rejected since the last save; what could not be written is kept for the next."""
        seen, self._seen = self._seen, {}
        if not seen:
            return
        try:
            await save_rejections(self._pool, list(seen.values()))
        except (ForeignKeyViolationError, *DATABASE_AWAY) as away:  # A device is being removed: try again later.
            self._log.warning("refusals_not_saved", error=describe(away))
            for key, later in self._seen.items():
                before = seen.get(key)
                if before is not None:
                    # A join that was accepted later clears the earlier rejections, too.
                    later.forgiven += before.times if later.forgiven else before.forgiven
                    later.times += before.times
                    later.first_us = before.first_us
            self._seen = dict(list((seen | self._seen).items())[:MOST])
