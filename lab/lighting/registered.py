"""An area in the registry, its cabinets with sessions as if they had joined long ago."""

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count
from uuid import UUID

import msgspec

from core.runtime.postgres import Connection
from lab.device.device import DeviceSession
from lab.device.lamp_clock import LampClock
from lab.fleet.bulk import register_devices
from lab.fleet.pilot import BREST, CLOCK
from lab.fleet.plan import DevicePlan, GatewayPlan, Kind, Profile, plan_device, plan_gateways
from lab.lighting.area import FAST_RX2, SLOW_RX2, Area, AreaCabinet
from lab.radio.transmission import SLOWEST_SPREADING_FACTOR
from lorawan.crypto import SessionCipher, SessionKeys
from lorawan.identifiers import DevAddr, DevEui, slot_of_dev_addr, slot_of_dev_eui
from lorawan.instants import to_us
from network.sessions import SessionReception
from registry.datastreams import WantedDatastream, make_datastreams
from registry.keys import KeyWrap, session_owner

SINCE = timedelta(days=10)
REPORTS_EVERY = timedelta(minutes=15)
HEARD_AGO = timedelta(minutes=5)
FREQUENCY, BANDWIDTH = 868_100_000, 125_000
# What lighting reads of a clock's state.
QUANTITIES = (("switch_state", "1"), ("light_output", "%"))
RX2 = {FAST_RX2: "SF9", SLOW_RX2: "SF12"}

ADD_TENANT = "INSERT INTO tenant (slug, name, department) VALUES ($1, 'Banc', '29') RETURNING id"
ADD_PROFILE = """
INSERT INTO device_profile (tenant_id, name, vendor, model, codec, device_class, capabilities, expected_interval,
                            rx2_data_rate)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
RETURNING id
"""
ADD_SESSIONS = """
INSERT INTO session (device_id, dev_addr, nwk_s_key_wrapped, app_s_key_wrapped, kek_id, f_cnt_up, rx2_data_rate,
                     last_digest, last_uplink_id, last_uplink_at, first_uplink_at, activated_at, last_heard_by)
SELECT w.device, w.addr, w.nwk, w.app, $1, 1, w.rx2, '\\x00', w.uplink, $2, $2, $2, w.heard::jsonb
FROM unnest($3::int[], $4::bytea[], $5::bytea[], $6::bytea[], $7::smallint[], $8::uuid[], $9::text[])
     AS w (device, addr, nwk, app, rx2, uplink, heard)
"""
ADD_GATEWAYS = """
INSERT INTO gateway (tenant_id, gateway_id, name) SELECT $1, * FROM unnest($2::bytea[], $3::text[])
"""


@dataclass(frozen=True, slots=True)
class RegisteredCabinet:
    """A cabinet with its numbers in the registry and the keys of its session."""

    cabinet: AreaCabinet
    plan: DevicePlan
    asset_id: int
    device_id: int
    dev_addr: DevAddr
    keys: SessionKeys
    datastreams: dict[str, int]


@dataclass(frozen=True, slots=True)
class RegisteredArea:
    """All of them; `gateways` by number."""

    area: Area
    tenant_id: int
    gateways: Sequence[GatewayPlan]
    cabinets: Sequence[RegisteredCabinet]


def cabinet_plans(area: Area, name: str) -> list[DevicePlan]:
    """Clocks that a technician has set, with a profile for each data rate of RX2."""

    def clock(source: random.Random, _number: int) -> LampClock:
        return LampClock((source.randint(800, 6_000),), own_position=BREST, error_s=source.uniform(-5, 5))

    kinds = {rate: Kind(profile_of(rate), "lighting_cabinet", "Armoire", clock) for rate in RX2}
    return [plan_device(kinds[cabinet.rx2_data_rate], cabinet.number, name) for cabinet in area.cabinets]


def profile_of(rx2_data_rate: int, profile: Profile = CLOCK) -> Profile:
    """The profile of those that listen at this data rate."""
    return replace(profile, name=f"{profile.name} {RX2[rx2_data_rate]}")


# What stands in an area, one plan for each of its cabinets, for a tenant of this name.
PlanCabinets = Callable[[Area, str], list[DevicePlan]]


async def register_area(
    connection: Connection,
    area: Area,
    name: str,
    now: datetime,
    keys: KeyWrap,
    tenant_id: int | None = None,
    plan: PlanCabinets = cabinet_plans,
) -> RegisteredArea:
    """Everything at once, straight in the tables, in the caller's transaction; without a tenant, a new one's."""
    if tenant_id is None:
        tenant_id = await connection.fetchval(ADD_TENANT, name)
    assert tenant_id is not None
    gateways = plan_gateways(area.gateways, name)
    await connection.execute(
        ADD_GATEWAYS, tenant_id, [one.gateway_id for one in gateways], [one.name for one in gateways]
    )
    plans = plan(area, name)
    rates = {one.profile: cabinet.rx2_data_rate for one, cabinet in zip(plans, area.cabinets, strict=True)}
    profiles = {one.name: await _add_profile(connection, tenant_id, one, rate) for one, rate in rates.items()}
    assets, devices = await register_devices(connection, tenant_id, plans, profiles, now - SINCE, keys)
    wanted = [
        WantedDatastream(tenant_id, assets[one.asset_name], devices[one.asset_name], "", "", quantity, unit)
        for one in plans
        for quantity, unit in QUANTITIES
    ]
    streams = await make_datastreams(connection, wanted)
    by_device: dict[int, dict[str, int]] = {}
    for want in wanted:
        by_device.setdefault(want.device_id, {})[want.quantity] = streams[want]
    made = [
        RegisteredCabinet(
            cabinet,
            plan,
            assets[plan.asset_name],
            devices[plan.asset_name],
            _dev_addr(plan.dev_eui),
            SessionKeys(*(_octets(f"{name} {cabinet.number} {kind}", 16) for kind in ("nwk", "app"))),
            by_device[devices[plan.asset_name]],
        )
        for cabinet, plan in zip(area.cabinets, plans, strict=True)
    ]
    registered = RegisteredArea(area, tenant_id, gateways, made)
    await _open_sessions(connection, registered, now - HEARD_AGO, keys)
    return registered


async def _add_profile(connection: Connection, tenant_id: int, profile: Profile, rx2_data_rate: int) -> int:
    number = await connection.fetchval(
        ADD_PROFILE, tenant_id, profile.name, profile.vendor, profile.model, profile.codec, profile.device_class,
        profile.capabilities, REPORTS_EVERY, rx2_data_rate,
    )  # fmt: skip
    assert number is not None
    return number


async def _open_sessions(connection: Connection, area: RegisteredArea, at: datetime, keys: KeyWrap) -> None:
    def sealed(one: RegisteredCabinet, key: bytes, kind: str) -> bytes:
        return keys.wrap(key, session_owner(one.plan.dev_eui, one.dev_addr, kind))

    await connection.execute(
        ADD_SESSIONS,
        keys.kek_id,
        at,
        [one.device_id for one in area.cabinets],
        [one.dev_addr for one in area.cabinets],
        [sealed(one, one.keys.nwk_s_key, "nwk_s_key") for one in area.cabinets],
        [sealed(one, one.keys.app_s_key, "app_s_key") for one in area.cabinets],
        [one.cabinet.rx2_data_rate for one in area.cabinets],
        [UUID(bytes=_octets(f"{one.device_id} uplink", 16)) for one in area.cabinets],
        [msgspec.json.encode(receptions_of(area, one, to_us(at))).decode() for one in area.cabinets],
    )


def session_of(one: RegisteredCabinet) -> DeviceSession:
    """On the cabinet's side."""
    return DeviceSession(
        one.dev_addr,
        SessionCipher(one.keys),
        rx2_spreading_factor=SLOWEST_SPREADING_FACTOR - one.cabinet.rx2_data_rate,
        f_cnt_up=1,
    )


def receptions_of(area: RegisteredArea, one: RegisteredCabinet, at_us: int) -> tuple[SessionReception, ...]:
    """How its gateways have received it."""
    return tuple(
        SessionReception(
            area.gateways[gateway].gateway_id,
            b"",
            at_us,
            FREQUENCY,
            one.cabinet.spreading_factor,
            BANDWIDTH,
            -100.0,
            snr,
        )
        for gateway, snr in one.cabinet.receptions
    )


def _dev_addr(dev_eui: DevEui) -> DevAddr:
    """One that routes to the device's own slot."""
    slot = slot_of_dev_eui(dev_eui)
    drawn = (DevAddr(_octets(f"{dev_eui.hex()} {draw}", 4)) for draw in count())
    return next(dev_addr for dev_addr in drawn if slot_of_dev_addr(dev_addr) == slot)


def _octets(seed: str, length: int) -> bytes:
    return hashlib.sha256(seed.encode()).digest()[:length]
