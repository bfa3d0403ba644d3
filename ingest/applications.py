"""Queues stored uplinks for partners' applications, in the transaction that stores them."""

from collections.abc import Sequence

from core.runtime.postgres import Connection
from ingest.pipeline import Interpreted

QUEUE = """
INSERT INTO observation.application_event (application_id, device_id, kind, time, uplink_id)
SELECT a.id, d.id, 'up', timestamptz 'epoch' + us * interval '1 microsecond', encode(of.id, 'hex')::uuid
FROM unnest($1::int[], $2::bigint[], $3::bytea[]) WITH ORDINALITY AS of (device_id, us, id, place)
JOIN device d ON d.id = of.device_id AND (d.fine_until IS NULL OR d.fine_until > now())
JOIN application a ON a.tenant_id = d.tenant_id AND a.enabled
WHERE a.all_devices
   OR EXISTS (SELECT FROM application_device l WHERE l.application_id = a.id AND l.device_id = d.id)
ORDER BY place
"""


async def queue_events(connection: Connection, uplinks: Sequence[Interpreted]) -> None:
    """One event for each of these new uplinks and each application that covers its device.

    None of a device whose frames may tell nothing finer than days: the consent has ended.
    """
    new = [interpreted.uplink for interpreted in uplinks]
    if new:
        await connection.execute(
            QUEUE,
            [uplink.device_id for uplink in new],
            [uplink.time_us for uplink in new],
            [uplink.uplink_id for uplink in new],
        )
