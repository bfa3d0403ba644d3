"""Queues stored uplinks for partners' applications, in the transaction that stores them."""

from collections.abc import Sequence

from core.runtime.postgres import Connection
from ingest.pipeline import Interpreted

QUEUE = """
WITH heard AS MATERIALIZED (
    SELECT row_number() OVER (ORDER BY of.place) AS place, d.id AS device_id, d.tenant_id,
           timestamptz 'epoch' + us * interval '1 microsecond' AS time, encode(of.id, 'hex')::uuid AS uplink_id
    FROM unnest($1::int[], $2::bigint[], $3::bytea[]) WITH ORDINALITY AS of (device_id, us, id, place)
    JOIN device d ON d.id = of.device_id AND (d.fine_until IS NULL OR d.fine_until > now())
), told (place, application_id) AS (
    SELECT h.place, a.id FROM heard h
    JOIN application a ON a.tenant_id = h.tenant_id AND a.enabled AND NOT a.at_our_broker
    WHERE a.all_devices
       OR EXISTS (SELECT FROM application_device l WHERE l.application_id = a.id AND l.device_id = h.device_id)
    UNION ALL
    SELECT * FROM listening_applications(ARRAY(SELECT device_id FROM heard ORDER BY place),
                                         ARRAY(SELECT time FROM heard ORDER BY place))
)
INSERT INTO observation.application_event (application_id, device_id, kind, time, uplink_id)
SELECT t.application_id, h.device_id, 'up', h.time, h.uplink_id FROM told t JOIN heard h USING (place)
ORDER BY place
"""


async def queue_events(connection: Connection, uplinks: Sequence[Interpreted]) -> None:
    """One event for each of these new uplinks and each application that covers its device, or access that hears.

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
