"""SQL of observation.uplink_seen: what is stored under the keys of uplinks, and the row that a new one leaves."""

from collections.abc import Iterable, Sequence

from core.messages.uplinks import Uplink
from core.model.identities import digest_of
from core.runtime.postgres import Connection
from ingest.identity import SAME_WITHIN_US, SeenKey, Stored, seen_key

READ_SEEN = """
SELECT device_id, f_cnt, digest, s.uplink_id, (extract(epoch FROM s.time) * 1000000)::bigint AS us, s.session_id
FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS of (device_id, f_cnt, digest)
JOIN observation.uplink_seen s USING (device_id, f_cnt, digest)
"""
# The row of a key names its last uplink only; the table of uplinks has all. $6 and $7 bound the time, so
# that only the chunks in question are planned for.
READ_UPLINKS = f"""
SELECT of.place, u.uplink_id, (extract(epoch FROM u.time) * 1000000)::bigint AS us, u.session_id
FROM unnest($1::int[], $2::bigint[], $3::smallint[], $4::bytea[], $5::bigint[])
     WITH ORDINALITY AS of (device_id, f_cnt, f_port, payload, us, place)
JOIN observation.uplink u ON u.device_id = of.device_id AND u.f_cnt = of.f_cnt
     AND u.f_port IS NOT DISTINCT FROM of.f_port AND u.payload = of.payload
     AND u.time BETWEEN timestamptz 'epoch' + (of.us - {SAME_WITHIN_US}) * interval '1 microsecond'
                    AND timestamptz 'epoch' + (of.us + {SAME_WITHIN_US}) * interval '1 microsecond'
WHERE u.time BETWEEN timestamptz 'epoch' + $6::bigint * interval '1 microsecond'
                 AND timestamptz 'epoch' + $7::bigint * interval '1 microsecond'
"""
REPLACE_SEEN = """
INSERT INTO observation.uplink_seen (device_id, f_cnt, digest, time, uplink_id, session_id)
SELECT device_id, f_cnt, digest, timestamptz 'epoch' + us * interval '1 microsecond', encode(id, 'hex')::uuid,
       nullif(session_id, 0)
FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[], $6::bigint[])
     AS of (device_id, f_cnt, digest, us, id, session_id)
ORDER BY device_id, f_cnt, digest
ON CONFLICT (device_id, f_cnt, digest) DO UPDATE
SET time = excluded.time, uplink_id = excluded.uplink_id, session_id = excluded.session_id
"""


async def read_stored(connection: Connection, uplinks: Sequence[Uplink]) -> dict[SeenKey, list[Stored]]:
    """What is stored under the keys of these uplinks; keys of which nothing is known are absent."""
    seen = await _read_seen(connection, {seen_key(uplink) for uplink in uplinks})
    stored = {key: [of_key] for key, of_key in seen.items()}
    unlike = [
        uplink
        for uplink in uplinks
        if (known := seen.get(seen_key(uplink))) is not None
        and (known.uplink_id, known.time_us) != (uplink.uplink_id, uplink.time_us)
    ]
    if unlike:
        for key, others in (await _read_uplinks(connection, unlike)).items():
            stored[key] = list(dict.fromkeys([*stored[key], *others]))
    return stored


async def _read_seen(connection: Connection, keys: Iterable[SeenKey]) -> dict[SeenKey, Stored]:
    columns = list(zip(*sorted(keys), strict=True))
    if not columns:
        return {}
    return {
        (row["device_id"], row["f_cnt"], row["digest"]): Stored(
            row["uplink_id"].bytes, row["us"], row["session_id"] or 0
        )
        for row in await connection.fetch(READ_SEEN, *columns)
    }


async def _read_uplinks(connection: Connection, uplinks: Sequence[Uplink]) -> dict[SeenKey, list[Stored]]:
    times = [uplink.time_us for uplink in uplinks]
    rows = await connection.fetch(
        READ_UPLINKS,
        [uplink.device_id for uplink in uplinks],
        [uplink.f_cnt for uplink in uplinks],
        [None if uplink.f_port < 0 else uplink.f_port for uplink in uplinks],
        [uplink.payload for uplink in uplinks],
        times,
        min(times) - SAME_WITHIN_US,
        max(times) + SAME_WITHIN_US,
    )
    found: dict[SeenKey, list[Stored]] = {}
    for row in rows:
        stored = Stored(row["uplink_id"].bytes, row["us"], row["session_id"] or 0)
        place: int = row["place"]
        found.setdefault(seen_key(uplinks[place - 1]), []).append(stored)
    return found


async def replace_seen(connection: Connection, uplinks: Iterable[Uplink]) -> None:
    """Write the rows of new uplinks in `uplink_seen`; of several with one key the last is kept."""
    new: list[Uplink] = list({seen_key(uplink): uplink for uplink in uplinks}.values())
    if new:
        await connection.execute(
            REPLACE_SEEN,
            [uplink.device_id for uplink in new],
            [uplink.f_cnt for uplink in new],
            [digest_of(uplink.f_port, uplink.payload) for uplink in new],
            [uplink.time_us for uplink in new],
            [uplink.uplink_id for uplink in new],
            [uplink.session_id for uplink in new],
        )
