"""Writes what other LNS report of our downlinks into their rows."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from core.messages import topics
from core.messages.topics import shard_of_slot
from core.runtime.bus import BUS_AWAY, Bus
from core.runtime.postgres import Pool
from core.runtime.repeating import repeat
from integrations.lns.lns_uplink import DownlinkReport
from integrations.lns.telemetry import DOWNLINKS
from lorawan.instants import from_us
from registry.downlinks import Changed, LnsReport, report_of_lns, sweep_lns
from registry.lns_sources import Source

SWEEP_EVERY_S = 5.0
LATEST_US = 4_102_444_800_000_000  # 2100-01-01
LONGEST_ITEM = 200
LONGEST_DETAIL = 500

log = structlog.get_logger()


def kept(detail: str | None) -> str | None:
    """Their text, as a text column takes it."""
    return None if detail is None else detail.replace("\0", "")[:LONGEST_DETAIL]


@dataclass(frozen=True, slots=True)
class Reports:
    """Saves what became of downlinks, and nudges the processes that wait for them."""

    pool: Pool
    bus: Bus
    shards: int

    async def save_report(self, source: Source, reported: DownlinkReport) -> bool:
        """Write a report; False when it is of no downlink of ours that is still open. Raises DATABASE_AWAY."""
        if len(reported.item) > LONGEST_ITEM or "\0" in reported.item:
            return False  # No item that we ever gave or were given.
        at = reported.time_us
        report = LnsReport(
            reported.item,
            reported.state,
            reported.reason,
            kept(reported.detail),
            from_us(at) if at is not None and 0 < at < LATEST_US else None,
            reported.f_cnt_down,
            reported.gateway_id,
        )
        changed = await report_of_lns(self.pool, source.id, report)
        for row in changed:
            DOWNLINKS.labels(source.kind, row.state).inc()
        await self.nudge_changed(changed)
        return bool(changed)

    async def nudge_changed(self, changed: Sequence[Changed]) -> None:
        """Nudge the processes that wait for these rows; without a bus they find the rows at their next look."""
        with suppress(*BUS_AWAY):
            for row in changed:
                subject = topics.downlink_done(shard_of_slot(row.slot, self.shards))
                await self.bus.nudge(subject, str(row.id).encode())

    async def sweep(self) -> None:
        """End downlinks whose term has passed, every few seconds until cancelled."""

        async def sweep() -> None:
            await self.nudge_changed(await sweep_lns(self.pool))

        await repeat(sweep, SWEEP_EVERY_S, "downlinks_not_swept")
