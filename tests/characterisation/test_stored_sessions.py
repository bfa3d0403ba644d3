"""A session as the program of November 2026 left it in the database is taken up by the next where it stood.

Every column and every field of `mac_state` has a value that is not its default: a field that is read under another
name would silently be its default.
"""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import asdict, fields

from core.messages import topics
from core.messages.batch import encode_batch
from core.runtime.postgres import Pool
from lorawan.mac_state import MacState
from network.sessions import HeldSession, Progress
from network.store import read_sessions, save_mac_states, save_sessions
from registry.keys import KeyWrap
from tests.network.conftest import GATEWAYS, KEK, Network

DEV_ADDR = bytes.fromhex("0135abcd")
SLOT = 13  # Of that address; 13 mod 4 is its shard.
MAC_STATE = """{
  "channels": 65287,
  "status_due_us": 1795683600000001,
  "tx_power": 3,
  "nb_trans": 2,
  "max_duty_cycle": 5,
  "limits": {"max_data_rate": 4, "min_tx_power": 1, "max_tx_power": 6},
  "limits_until_us": 1796202000000002,
  "data_rate": 2,
  "history": [[-7.25, 0], [3.5, 2]],
  "asked": [[6, "Bg==", 2, 1, 1795600800000003], [3, "", 0, 4, 1795687200000004, 5]],
  "far_until_us": 1795640400000005
}"""
HEARD_BY = """[
  ["qqqqqqqqqgE=", "//Hi0w==", 1795597200130001, 868300000, 9, 125000, -117.5, -9.25, 84000],
  ["qqqqqqqqqgI=", "AAAAAQ==", 1795597200130002, 868500000, 10, 250000, -80.0, 7.5]
]"""
UPLINK_ID = UUID("018f3f2a-7b4c-7d8e-9fa0-b1c2d3e4f506")
LAST_PHY = bytes.fromhex(
    "80cdab350100010007b2bfac9e13c34bd4"
)  # FCnt 65537, confirmed, of which the row has the digest.
NEXT_PHY = bytes.fromhex("40cdab35010002000790b31a6ff858d70c")  # FCnt 65538, FPort 7, "next".

TENANT = "INSERT INTO tenant (slug, name) VALUES ('brest', 'Brest') RETURNING id"
PROFILE = """
INSERT INTO device_profile (tenant_id, name, vendor, model, codec, device_class)
VALUES ($1, 'p', 'v', 'm', 'c', 'C') RETURNING id
"""
DEVICE = """
INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id,
                    skip_f_cnt_check)
VALUES ($1, '\\x70b3d50000000001', '\\x0000000000000002', 'd', $2, 13,
        '\\xa8118f802ebf08dc6237c30463a2facbf887aa31902385c1', 'kek-1', true)
RETURNING id
"""
SESSION = """
INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, f_cnt_up, f_cnt_down,
                     rx1_delay, rx1_dr_offset, rx2_data_rate, rx2_frequency, last_digest, last_uplink_id,
                     last_uplink_at, last_confirmed, last_heard_by, activated_at, first_uplink_at, mac_state)
VALUES ($1, '\\x0135abcd', '\\xa8118f802ebf08dc6237c30463a2facbf887aa31902385c1',
        '\\x39114098a15d6f92d7f013215b5b41a8982dac5934763618', 'kek-1', 65538, 70001, 3, 2, 4, 869100000,
        '\\x0ade20df87e4aef8f8b21e5a08c090ae', '018f3f2a-7b4c-7d8e-9fa0-b1c2d3e4f506',
        '2026-11-25 09:00:00.123456+00', true, $2::text::jsonb, '2026-11-01 00:00:00+00', '2026-11-01 00:00:07+00',
        $3::text::jsonb)
RETURNING id
"""
STATE: dict[str, Any] = {
    "dev_addr": DEV_ADDR,
    "f_cnt_up": 65_538,
    "f_cnt_down": 0,  # The database alone has it.
    "rx1_delay": 3,
    "rx1_dr_offset": 2,
    "rx2_dr": 4,
    "rx2_frequency": 869_100_000,
    "skip_f_cnt": True,
    "last_uplink": {
        "f_cnt": 65_537,
        "digest": bytes.fromhex("0ade20df87e4aef8f8b21e5a08c090ae"),
        "confirmed": True,
        "time_us": 1_795_597_200_123_456,
    },
}
MAC: dict[str, Any] = {
    "channels": 0xFF07,
    "status_due_us": 1_795_683_600_000_001,
    "tx_power": 3,
    "nb_trans": 2,
    "max_duty_cycle": 5,
    "limits": {"max_data_rate": 4, "min_tx_power": 1, "max_tx_power": 6},
    "limits_until_us": 1_796_202_000_000_002,
    "data_rate": 2,
    "history": [{"snr": -7.25, "missed": 0}, {"snr": 3.5, "missed": 2}],
    "asked": [
        {
            "cid": 6,
            "requests": b"\x06",
            "attempts": 2,
            "failures": 1,
            "not_before_us": 1_795_600_800_000_003,
            "agreed_data_rate": -1,  # As before it was stored.
        },
        {
            "cid": 3,
            "requests": b"",
            "attempts": 0,
            "failures": 4,
            "not_before_us": 1_795_687_200_000_004,
            "agreed_data_rate": 5,
        },
    ],
    "far_until_us": 1_795_640_400_000_005,
}
HEARD: list[dict[str, Any]] = [
    {
        "gateway_id": GATEWAYS[0],
        "context": bytes.fromhex("fff1e2d3"),
        "received_at_us": 1_795_597_200_130_001,
        "frequency": 868_300_000,
        "spreading_factor": 9,
        "bandwidth": 125_000,
        "rssi": -117.5,
        "snr": -9.25,
        "round_trip_us": 84_000,
    },
    {
        "gateway_id": GATEWAYS[1],
        "context": bytes.fromhex("00000001"),
        "received_at_us": 1_795_597_200_130_002,
        "frequency": 868_500_000,
        "spreading_factor": 10,
        "bandwidth": 250_000,
        "rssi": -80.0,
        "snr": 7.5,
        "round_trip_us": 0,
    },
]


async def stored(pool: Pool, mac_state: str | None = MAC_STATE) -> tuple[int, int]:
    """The ids of the device and of its session."""
    tenant_id = await pool.fetchval(TENANT)
    device_id = await pool.fetchval(DEVICE, tenant_id, await pool.fetchval(PROFILE, tenant_id))
    return device_id, await pool.fetchval(SESSION, device_id, HEARD_BY, mac_state)


async def read(pool: Pool, device_id: int) -> HeldSession:
    opened = await read_sessions(pool, [SLOT], KeyWrap("kek-1", KEK), [device_id])
    assert opened.sealed == []
    (held,) = opened.held
    return held


def mac_of(progress: Progress) -> dict[str, Any]:
    mac = progress.mac
    return asdict(mac) | {
        "limits": asdict(mac.limits),
        "history": [asdict(one) for one in mac.history],
        "asked": [asdict(one) for one in mac.asked],
    }


async def test_mac_state_of_today_is_read_in_full(pool: Pool) -> None:
    device_id, _ = await stored(pool)

    held = await read(pool, device_id)

    assert mac_of(held.progress) == MAC
    # A field that is new has to be in what is stored here, too.
    assert {field.encode_name for field in fields(MacState)} == set(json.loads(MAC_STATE))


async def test_session_row_of_today_is_read_in_full(pool: Pool) -> None:
    device_id, session_id = await stored(pool)

    held = await read(pool, device_id)

    progress = held.progress
    last = progress.state.last_uplink
    assert last is not None
    assert (held.id, held.device_id, held.dev_addr, held.slot) == (session_id, device_id, DEV_ADDR, SLOT)
    assert asdict(progress.state) | {"last_uplink": asdict(last)} == STATE
    assert progress.uplink_id == UPLINK_ID.bytes
    assert [asdict(one) for one in progress.receptions] == HEARD


async def test_session_is_written_in_the_form_of_today(pool: Pool) -> None:
    device_id, session_id = await stored(pool)
    held = await read(pool, device_id)
    await pool.execute(
        "UPDATE session SET mac_state = NULL, rx1_delay = 1, rx1_dr_offset = 0, rx2_data_rate = 0, "
        "rx2_frequency = 1, last_heard_by = '[]', f_cnt_up = 0, last_digest = NULL, last_uplink_id = NULL, "
        "last_uplink_at = NULL, last_confirmed = false"
    )

    async with pool.acquire() as connection, connection.transaction():
        await save_sessions(connection, {session_id: held.progress})
        await save_mac_states(connection, {session_id: held.progress})

    row = await pool.fetchrow("SELECT * FROM session")
    assert row is not None
    expected_heard: Any = json.loads(HEARD_BY)
    expected_heard[1].append(0)
    expected_mac: Any = json.loads(MAC_STATE)
    expected_mac["asked"][0].append(-1)
    assert row["mac_state"] == expected_mac
    assert row["last_heard_by"] == expected_heard
    assert (row["rx1_delay"], row["rx1_dr_offset"], row["rx2_data_rate"], row["rx2_frequency"]) == (
        3,
        2,
        4,
        869_100_000,
    )
    assert (row["f_cnt_up"], row["f_cnt_down"], row["last_confirmed"]) == (65_538, 70_001, True)
    assert row["last_digest"] == bytes.fromhex("0ade20df87e4aef8f8b21e5a08c090ae")
    assert row["last_uplink_id"] == UPLINK_ID
    assert row["last_uplink_at"] == datetime(2026, 11, 25, 9, 0, 0, 123_456, tzinfo=UTC)


async def test_mac_state_with_channels_only_has_the_defaults_of_today(pool: Pool) -> None:
    device_id, _ = await stored(pool, '{"channels": 7}')

    held = await read(pool, device_id)

    assert mac_of(held.progress) == {
        "channels": 7,
        "status_due_us": 0,
        "tx_power": 0,
        "nb_trans": 1,
        "max_duty_cycle": 0,
        "limits": {"max_data_rate": 5, "min_tx_power": 0, "max_tx_power": 7},
        "limits_until_us": 0,
        "data_rate": -1,
        "history": [],
        "asked": [],
        "far_until_us": 0,
    }


@pytest.mark.parametrize(
    "mac_state", [None, '{"channels": "?"}', "[]"], ids=["none", "unreadable field", "no object"]
)
async def test_mac_state_that_is_absent_or_unreadable_begins_anew(pool: Pool, mac_state: str | None) -> None:
    device_id, _ = await stored(pool, mac_state)

    held = await read(pool, device_id)

    assert (held.progress.mac.channels, held.progress.mac.asked) == (0xFF, ())


async def test_frame_after_a_stored_session_goes_on_with_its_counter_and_a_repeated_one_keeps_its_id(
    idle_network: Network,
) -> None:
    network = idle_network
    device_id, session_id = await stored(network.pool)
    # Of a device that may not restart its counter: then a repeated frame is known by its digest alone.
    await network.pool.execute("UPDATE device SET skip_f_cnt_check = false")
    await network.start()

    await network.bus.publish(topics.frames(SLOT % 4), encode_batch(network.frames_of(LAST_PHY)))
    repeated = await network.next_uplink()
    await network.bus.publish(topics.frames(SLOT % 4), encode_batch(network.frames_of(NEXT_PHY)))
    following = await network.next_uplink()
    await network.all_acknowledged()

    assert (repeated.uplink_id, repeated.late, repeated.f_cnt) == (UPLINK_ID.bytes, True, 65_537)
    assert (repeated.device_id, repeated.session_id) == (device_id, session_id)
    assert (following.f_cnt, following.f_port, following.payload, following.late) == (65_538, 7, b"next", False)
    assert await network.pool.fetchval("SELECT f_cnt_up FROM session") == 65_539


async def test_downlink_queued_by_the_former_program_is_the_frame_that_it_would_have_been(
    idle_network: Network,
) -> None:
    network = idle_network
    device_id, _ = await stored(network.pool)
    downlink_id = await network.pool.fetchval(
        "INSERT INTO downlink (tenant_id, device_id, slot, f_port, payload, confirmed, priority, not_after, "
        "attempts) SELECT tenant_id, id, slot, 10, '\\xff03b004', true, 2, now() + interval '1 hour', 1 "
        "FROM device WHERE id = $1 RETURNING id",
        device_id,
    )
    await network.start()

    request = await network.bridge.next()

    (way,) = request.transmissions
    assert (request.downlink_id, request.gateway_id, request.priority) == (downlink_id, GATEWAYS[1], 2)
    assert way.phy_payload.hex() == "a0cdab35018071110aee55fc57961b1702"  # FCntDown 70001, ADR, confirmed.
    assert (way.frequency, way.spreading_factor, way.bandwidth, way.immediate) == (869_100_000, 8, 125_000, True)
    row = await network.downlink(downlink_id, "sent")
    assert (row.f_cnt_down, row.attempts, row.reason, row.confirmed) == (70_001, 2, None, True)
