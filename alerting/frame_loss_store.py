"""SQL of frame loss where outages explain some of it: which outages concern a device, and its frames."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from alerting.deadline_store import Loss
from alerting.rules.frame_loss import OVER, lost_percent
from core.model.frame_loss import CountedUplink, Span
from core.runtime.postgres import Connection, Pool
from registry.outages import read_outages

# A device's gateways are those that received it lately.
RECEIVED_WITHIN = timedelta(days=3)
# The second is for the API's role, which reads what is visible to its tenant.
READ_GATEWAYS, READ_VISIBLE_GATEWAYS = (
    f"""
SELECT DISTINCT device_id, gateway_id FROM {receptions}
WHERE device_id = ANY($1::int[]) AND gateway_id = ANY($2::int[]) AND time > $3 AND time <= $4
"""
    for receptions in ("observation.reception", "reception")
)
READ_FRAMES = """
SELECT device_id, min(time) AS at, session_id, f_cnt FROM observation.uplink
WHERE device_id = ANY($1::int[]) AND time > $2 AND time <= $3 AND f_cnt IS NOT NULL
GROUP BY device_id, session_id, f_cnt ORDER BY at
"""


async def without_outages(
    connection: Connection | Pool, frame_loss: Sequence[Loss], until: datetime
) -> list[Loss]:
    """Frame loss of the day before `until` without the frames that fell into outages.

    A device that sent too few outside of them is left out. Nothing is read of those that lost nothing.
    """
    since = until - OVER
    lossy = [loss.device_id for loss in frame_loss if loss.percent > 0]
    outages = await read_device_outages(connection, lossy, since, until) if lossy else {}
    concerned = [device_id for device_id, spans in outages.items() if spans]
    if not concerned:
        return list(frame_loss)
    frames: dict[int, list[CountedUplink]] = {}
    for row in await connection.fetch(READ_FRAMES, concerned, since, until):
        frames.setdefault(row["device_id"], []).append(CountedUplink(row["at"], row["session_id"], row["f_cnt"]))
    counted = {device_id: lost_percent(frames.get(device_id, []), outages[device_id]) for device_id in concerned}
    percents = [(loss, counted.get(loss.device_id, loss.percent)) for loss in frame_loss]
    return [replace(loss, percent=percent) for loss, percent in percents if percent is not None]


async def read_device_outages(
    connection: Connection | Pool,
    device_ids: Sequence[int],
    since: datetime,
    until: datetime,
    statement: str = READ_GATEWAYS,
) -> dict[int, list[Span]]:
    """Of each device: when one of its gateways, the bridge or the platform was away."""
    outages = await read_outages(connection, since, until)
    gateways = {outage.gateway_id for outage in outages if outage.gateway_id is not None}
    received: set[tuple[int, int]] = set()
    if gateways:
        rows = await connection.fetch(statement, device_ids, sorted(gateways), since - RECEIVED_WITHIN, until)
        received = {(row["device_id"], row["gateway_id"]) for row in rows}
    return {
        device_id: [
            (outage.began_at, until if outage.ended_at is None else outage.ended_at)
            for outage in outages
            if outage.gateway_id is None or (device_id, outage.gateway_id) in received
        ]
        for device_id in device_ids
    }
