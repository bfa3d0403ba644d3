"""SQL of joins: nonces, sessions, rejections."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.model.entities import Device
from core.runtime.postgres import Connection
from lorawan.identifiers import DevAddr, DevEui
from registry.rows import entity

# Over which a device's joins are counted.
RECENT = timedelta(minutes=10)

READ_JOINING = """
SELECT d.id, d.tenant_id, d.dev_eui, d.join_eui, d.name, d.device_profile_id, d.slot, d.activation,
       d.skip_f_cnt_check, d.enabled, d.app_key_wrapped, p.mac_version, j.last_join_nonce,
       p.rx1_delay, p.rx2_data_rate, n.highest AS highest_dev_nonce, coalesce(n.recent, 0) AS recent_joins
FROM device d
JOIN device_profile p ON p.id = d.device_profile_id
LEFT JOIN join_nonce j ON j.device_id = d.id
LEFT JOIN LATERAL (SELECT max(dev_nonce) AS highest,
                          count(*) FILTER (WHERE used_at > now() - $2::interval) AS recent
                   FROM dev_nonce WHERE device_id = d.id) n ON true
WHERE d.dev_eui = ANY($1::bytea[])
"""
READ_USED_NONCES = """
SELECT n.device_id, n.dev_nonce FROM dev_nonce n
JOIN unnest($1::int[], $2::int[]) AS asked (device_id, dev_nonce) USING (device_id, dev_nonce)
"""
READ_UNUSED_SESSIONS = """
SELECT DISTINCT ON (device_id) id, device_id, dev_addr, nwk_s_key_wrapped, rx1_delay, rx2_data_rate, activated_at
FROM session
WHERE device_id = ANY($1::int[]) AND closed_at IS NULL AND first_uplink_at IS NULL
ORDER BY device_id, id DESC
"""
SAVE_DEV_NONCES = """
INSERT INTO dev_nonce (device_id, dev_nonce) SELECT * FROM unnest($1::int[], $2::int[])
"""
SAVE_JOIN_NONCES = """
INSERT INTO join_nonce (device_id, last_join_nonce)
SELECT device_id, max(nonce) FROM unnest($1::int[], $2::int[]) AS v (device_id, nonce) GROUP BY device_id
ON CONFLICT (device_id) DO UPDATE SET last_join_nonce = excluded.last_join_nonce
"""
OPEN_SESSIONS = """
INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, rx1_delay, rx2_data_rate,
                     keys_fingerprint)
SELECT device_id, dev_addr, nwk_s_key, app_s_key, $6, rx1_delay, rx2_data_rate, fingerprint
FROM unnest($1::int[], $2::bytea[], $3::bytea[], $4::bytea[], $5::smallint[], $7::smallint[], $8::bytea[])
     WITH ORDINALITY AS v (device_id, dev_addr, nwk_s_key, app_s_key, rx1_delay, rx2_data_rate, fingerprint, place)
ORDER BY place
RETURNING id, device_id, dev_addr
"""
# A device has the keys of its last join-request only; one or two before it may be somebody's replay. An imported
# session has been used elsewhere: its counter says so.
CLOSE_SUPERSEDED = """
UPDATE session SET closed_at = now() WHERE id IN (
    SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY device_id ORDER BY id DESC) AS place FROM session
                    WHERE device_id = ANY($1::int[]) AND closed_at IS NULL AND first_uplink_at IS NULL
                      AND f_cnt_up = 0) unused
    WHERE place > $2)
RETURNING id, device_id
"""


@dataclass(frozen=True, slots=True)
class Joining:
    """What the database knows of a device that asks to join."""

    device: Device
    app_key_wrapped: bytes | None
    mac_version: str
    last_join_nonce: int | None
    highest_dev_nonce: int | None
    recent_joins: int  # Accepted within `RECENT`.
    rx1_delay: int | None  # As its profile has it, and the next.
    rx2_data_rate: int | None


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session to be opened."""

    device_id: int
    dev_addr: DevAddr
    nwk_s_key_wrapped: bytes
    app_s_key_wrapped: bytes
    keys_fingerprint: bytes
    dev_nonce: int
    join_nonce: int
    rx1_delay: int  # Seconds.
    rx2_data_rate: int


@dataclass(frozen=True, slots=True)
class UnusedSession:
    """The newest session of a device that joined and of which no uplink was received since."""

    id: int
    dev_addr: DevAddr
    nwk_s_key_wrapped: bytes
    rx1_delay: int
    rx2_data_rate: int
    activated_at: datetime


async def read_joining(connection: Connection, dev_euis: Sequence[DevEui]) -> dict[DevEui, Joining]:
    """The registered devices among these, with what a join needs; never cached, since joins are rare."""
    return {
        row["dev_eui"]: Joining(
            entity(Device, row),
            row["app_key_wrapped"],
            row["mac_version"],
            row["last_join_nonce"],
            row["highest_dev_nonce"],
            row["recent_joins"],
            row["rx1_delay"],
            row["rx2_data_rate"],
        )
        for row in await connection.fetch(READ_JOINING, dev_euis, RECENT)
    }


async def read_used_nonces(connection: Connection, asked: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
    """Those of these (device id, DevNonce) that were used before."""
    rows = await connection.fetch(READ_USED_NONCES, [device for device, _ in asked], [nonce for _, nonce in asked])
    return {(row["device_id"], row["dev_nonce"]) for row in rows}


async def read_unused_sessions(connection: Connection, device_ids: Sequence[int]) -> dict[int, UnusedSession]:
    """By device: its newest session, if the device has not used it yet."""
    rows = await connection.fetch(READ_UNUSED_SESSIONS, device_ids)
    return {row["device_id"]: entity(UnusedSession, row) for row in rows}


async def open_sessions(
    connection: Connection, sessions: Sequence[NewSession], kek_id: str
) -> dict[tuple[int, DevAddr], int]:
    """Insert the nonces and the sessions; returns the sessions' ids by (device id, DevAddr)."""
    device_ids = [session.device_id for session in sessions]
    await connection.execute(SAVE_DEV_NONCES, device_ids, [session.dev_nonce for session in sessions])
    await connection.execute(SAVE_JOIN_NONCES, device_ids, [session.join_nonce for session in sessions])
    rows = await connection.fetch(
        OPEN_SESSIONS,
        device_ids,
        [session.dev_addr for session in sessions],
        [session.nwk_s_key_wrapped for session in sessions],
        [session.app_s_key_wrapped for session in sessions],
        [session.rx1_delay for session in sessions],
        kek_id,
        [session.rx2_data_rate for session in sessions],
        [session.keys_fingerprint for session in sessions],
    )
    return {(row["device_id"], row["dev_addr"]): row["id"] for row in rows}


async def close_superseded(
    connection: Connection, device_ids: Sequence[int], keep: int
) -> dict[int, tuple[int, ...]]:
    """Close all but the newest `keep` sessions that these devices have never used; returns ids by device."""
    closed: dict[int, tuple[int, ...]] = {}
    for row in await connection.fetch(CLOSE_SUPERSEDED, device_ids, keep):
        closed[row["device_id"]] = (*closed.get(row["device_id"], ()), row["id"])
    return closed
