"""Sessions in the database. Joins are in `join_store`, downlink rows that are due in `downlink_store`."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import structlog

from core.runtime.clock import wall_clock_us
from core.runtime.postgres import Connection, Pool, Record, uuid_of
from lorawan.commands.dev_status import DevStatusAns
from lorawan.crypto import SessionCipher, SessionKeys, WrongKek
from lorawan.identifiers import DevAddr
from lorawan.instants import from_us, to_us
from lorawan.mac_state import MacState, first_state
from lorawan.regions import EU868
from lorawan.session import LastUplink, Session
from network.sessions import HeldSession, Progress, SessionReception
from registry.downlinks import move_to_slot_of_device
from registry.keys import KeyWrap, session_owner

_encoder = msgspec.json.Encoder()

log = structlog.get_logger()

PAGE = 500  # Sessions: some twenty milliseconds.

READ_SESSIONS = """
SELECT s.id, s.device_id, s.dev_addr, s.nwk_s_key_wrapped, s.app_s_key_wrapped, d.dev_eui, s.f_cnt_up,
       s.rx1_delay, s.rx1_dr_offset, s.rx2_data_rate, s.rx2_frequency, s.last_digest, s.last_uplink_id,
       s.last_uplink_at, s.last_confirmed, s.last_heard_by, s.mac_state, d.skip_f_cnt_check, d.activation
FROM session s JOIN device d ON d.id = s.device_id
WHERE s.closed_at IS NULL
  AND (d.slot = ANY($1::smallint[]) OR s.first_uplink_at IS NULL)
  AND ($2::int[] IS NULL OR s.device_id = ANY($2))
ORDER BY s.id
"""
SAVE_SESSIONS = """
UPDATE session AS s
SET f_cnt_up = v.f_cnt_up, last_digest = v.digest, last_uplink_id = v.uplink_id, last_uplink_at = v.uplink_at,
    last_confirmed = v.confirmed, last_heard_by = v.heard_by::jsonb,
    first_uplink_at = COALESCE(s.first_uplink_at, v.uplink_at)
FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::uuid[], $5::timestamptz[], $6::boolean[], $7::text[])
     AS v (id, f_cnt_up, digest, uplink_id, uplink_at, confirmed, heard_by)
WHERE s.id = v.id AND s.closed_at IS NULL
"""
# Only the few sessions whose MAC layer was asked something, or answered.
SAVE_MAC_STATES = """
UPDATE session AS s
SET mac_state = v.mac_state::jsonb, rx1_delay = v.rx1_delay, rx1_dr_offset = v.rx1_dr_offset,
    rx2_data_rate = v.rx2_data_rate, rx2_frequency = v.rx2_frequency
FROM unnest($1::bigint[], $2::text[], $3::smallint[], $4::smallint[], $5::smallint[], $6::int[])
     AS v (id, mac_state, rx1_delay, rx1_dr_offset, rx2_data_rate, rx2_frequency)
WHERE s.id = v.id AND s.closed_at IS NULL
"""
SAVE_STATUSES = """
INSERT INTO device_status AS known (device_id, battery, margin, reported_at)
SELECT v.* FROM unnest($1::int[], $2::smallint[], $3::smallint[], $4::timestamptz[])
     AS v (device_id, battery, margin, reported_at)
JOIN device d ON d.id = v.device_id
ORDER BY v.device_id
ON CONFLICT (device_id) DO UPDATE
SET battery = excluded.battery, margin = excluded.margin, reported_at = excluded.reported_at
WHERE known.reported_at <= excluded.reported_at
"""
CLOSE_OLDER = """
UPDATE session AS s SET closed_at = now()
FROM unnest($1::int[], $2::bigint[]) AS v (device_id, session_id)
WHERE s.device_id = v.device_id AND s.id < v.session_id AND s.closed_at IS NULL
"""
# A device with an imported session moves to the slot of its DevEUI with its first uplink to us.
MOVE_DEVICES = """
UPDATE device AS d SET slot = v.slot
FROM unnest($1::int[], $2::smallint[]) AS v (id, slot)
WHERE d.id = v.id AND d.slot <> v.slot
RETURNING d.id
"""
ADVANCE_F_CNT_DOWN = """
UPDATE session AS s SET f_cnt_down = f_cnt_down + 1
WHERE s.id = ANY($1::bigint[]) AND s.closed_at IS NULL AND s.f_cnt_down <= 4294967295
RETURNING s.id, s.f_cnt_down - 1 AS f_cnt
"""


def _mac_state(row: Record, now_us: int) -> MacState:
    if row["mac_state"] is not None:
        with contextlib.suppress(msgspec.ValidationError):  # A MAC state that cannot be read starts anew.
            return msgspec.convert(row["mac_state"], MacState)
    return first_state(EU868, DevAddr(row["dev_addr"]), now_us, joined=row["activation"] == "OTAA")


def _held(row: Record, keys: KeyWrap, now_us: int) -> HeldSession:
    opened = SessionKeys(
        *(
            keys.unwrap(row[f"{kind}_wrapped"], session_owner(row["dev_eui"], row["dev_addr"], kind))
            for kind in ("nwk_s_key", "app_s_key")
        )
    )
    last = None
    if row["last_uplink_at"] is not None:
        last = LastUplink(
            row["f_cnt_up"] - 1,
            row["last_digest"] or b"",
            row["last_confirmed"],
            to_us(row["last_uplink_at"]),
        )
    state = Session(
        DevAddr(row["dev_addr"]),
        f_cnt_up=row["f_cnt_up"],
        rx1_delay=row["rx1_delay"],
        rx1_dr_offset=row["rx1_dr_offset"],
        rx2_dr=row["rx2_data_rate"],
        rx2_frequency=row["rx2_frequency"],
        skip_f_cnt=row["skip_f_cnt_check"],
        last_uplink=last,
    )
    uplink_id = b"" if row["last_uplink_id"] is None else row["last_uplink_id"].bytes
    heard_by = tuple(msgspec.convert(row["last_heard_by"], list[SessionReception]))
    progress = Progress(state, _mac_state(row, now_us), uplink_id, heard_by)
    return HeldSession(row["id"], row["device_id"], SessionCipher(opened), progress)


@dataclass(slots=True)
class OpenSessions:
    """Sessions whose frames are routed to these slots; the ids of those that no key-encryption key opens."""

    slots: Sequence[int]
    keys: KeyWrap
    held: list[HeldSession] = field(default_factory=list[HeldSession])
    sealed: list[int] = field(default_factory=list[int])
    _now_us: int = field(default_factory=wall_clock_us)

    def add_row(self, row: Record) -> None:
        """Unwrap its keys. A row with bad keys keeps its device out, and not the shard."""
        try:
            held = _held(row, self.keys, self._now_us)
        except WrongKek:
            self.sealed.append(row["id"])
        except (ValueError, TypeError, OverflowError, msgspec.MsgspecError) as unreadable:
            log.error(
                "session_unreadable", session_id=row["id"], device_id=row["device_id"], error=str(unreadable)
            )
        else:
            if held.slot in self.slots:
                self.held.append(held)


async def read_sessions(
    connection: Connection | Pool, slots: Sequence[int], keys: KeyWrap, device_ids: Sequence[int]
) -> OpenSessions:
    """The open sessions of these devices."""
    found = OpenSessions(slots, keys)
    for row in await connection.fetch(READ_SESSIONS, slots, device_ids):
        found.add_row(row)
    return found


async def read_all_sessions(connection: Connection, slots: Sequence[int], keys: KeyWrap) -> OpenSessions:
    """Every open session of these slots, in the caller's transaction.

    By pages: while tens of thousands of keys are unwrapped the frames of other shards go on, leases are renewed,
    and the transaction does not stand idle until the server ends it.
    """
    found = OpenSessions(slots, keys)
    async for row in connection.cursor(READ_SESSIONS, slots, None, prefetch=PAGE):
        found.add_row(row)
    return found


async def save_sessions(connection: Connection, progress: dict[int, Progress]) -> None:
    """Write how far these sessions have come; those that were closed meanwhile stay as they are."""
    rows = [(session_id, made, made.state.last_uplink) for session_id, made in sorted(progress.items())]
    await connection.execute(
        SAVE_SESSIONS,
        [session_id for session_id, _, _ in rows],
        [made.state.f_cnt_up for _, made, _ in rows],
        [last.digest if last else None for _, _, last in rows],
        [uuid_of(made.uplink_id) for _, made, _ in rows],
        [from_us(last.time_us) if last else None for _, _, last in rows],
        [last.confirmed if last else False for _, _, last in rows],
        [_encoder.encode(made.receptions).decode() for _, made, _ in rows],
    )


async def save_mac_states(connection: Connection, progress: dict[int, Progress]) -> None:
    """Write what is known of these sessions' MAC layers, and the receive windows that follow from it."""
    rows = sorted(progress.items())
    await connection.execute(
        SAVE_MAC_STATES,
        [session_id for session_id, _ in rows],
        [_encoder.encode(made.mac).decode() for _, made in rows],
        [made.state.rx1_delay for _, made in rows],
        [made.state.rx1_dr_offset for _, made in rows],
        [made.state.rx2_dr for _, made in rows],
        [made.state.rx2_frequency for _, made in rows],
    )


async def save_statuses(connection: Connection, statuses: dict[int, tuple[DevStatusAns, int]]) -> None:
    """Write DevStatusAns by device: the answer, and when it was received (us since 1970)."""
    rows = sorted(statuses.items())
    await connection.execute(
        SAVE_STATUSES,
        [device_id for device_id, _ in rows],
        [status.battery for _, (status, _) in rows],
        [status.margin for _, (status, _) in rows],
        [from_us(at_us) for _, (_, at_us) in rows],
    )


async def close_older_sessions(connection: Connection, first_used: Sequence[HeldSession]) -> None:
    """The devices have used these sessions for the first time: close what they had before."""
    device_ids = [held.device_id for held in first_used]
    await connection.execute(CLOSE_OLDER, device_ids, [held.id for held in first_used])
    moved = await connection.fetch(MOVE_DEVICES, device_ids, [held.slot for held in first_used])
    if moved:
        await move_to_slot_of_device(connection, [row["id"] for row in moved])


async def advance_f_cnt_down(connection: Connection, session_ids: Sequence[int]) -> dict[int, int]:
    """A fresh FCntDown for each session, used up by the commit; a session that was closed gets none."""
    rows = await connection.fetch(ADVANCE_F_CNT_DOWN, session_ids)
    return {row["id"]: row["f_cnt"] for row in rows}
