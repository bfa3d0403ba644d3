"""Puts thousands of devices into the registry at once: so many requests would take longer than the benchmark."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from core.runtime.postgres import Connection, connect
from lab.fleet.plan import JOIN_EUI, FleetPlan, Profile
from lab.fleet.provision import Provisioner
from lorawan.identifiers import DevEui, slot_of_dev_eui
from registry.keys import KeyWrap, device_owner
from services.supervisor.run_info import RunInfo

EXPECTED_INTERVAL_S = 600.0
# A device of a load serves its asset since before its first uplink.
SINCE = timedelta(minutes=5)

ADD_ASSETS = """
INSERT INTO asset (tenant_id, kind, name, commune, street, latitude, longitude, attributes, created_at,
                   privacy_class)
SELECT $1, w.kind, w.name, w.commune, w.street, w.latitude, w.longitude, w.attributes, $9, 0
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::float8[], $7::float8[], $8::jsonb[])
     AS w (kind, name, commune, street, latitude, longitude, attributes)
RETURNING id, name
"""
ADD_DEVICES = """
INSERT INTO device (tenant_id, dev_eui, join_eui, name, device_profile_id, slot, app_key_wrapped, kek_id,
                    created_at)
SELECT $1, w.dev_eui, $2, w.name, w.profile, w.slot, w.key, $3, $4
FROM unnest($5::bytea[], $6::text[], $7::int[], $8::smallint[], $9::bytea[])
     AS w (dev_eui, name, profile, slot, key)
RETURNING id, name
"""
ADD_ASSIGNMENTS = """
INSERT INTO assignment (tenant_id, asset_id, device_id, during)
SELECT $1, w.asset, w.device, tstzrange($2, NULL) FROM unnest($3::int[], $4::int[]) AS w (asset, device)
"""
# Row by row, triggers would read the growing tables again and again: what they would find is asked for once.
WITHOUT_TRIGGERS = "SET LOCAL session_replication_role = replica"
WITH_TRIGGERS = "SET LOCAL session_replication_role = origin"
# Also what this transaction has written.
COUNT = "ANALYZE asset, device, assignment"
SETTLE = "SELECT refresh_expectations($1), refresh_devices($2)"


class Registrable(Protocol):
    """What the registry wants to know of a device and of the asset that it serves; `asset_name` is unique."""

    @property
    def dev_eui(self) -> DevEui: ...  # noqa: D102 - As in DevicePlan, like all that follow.
    @property
    def app_key(self) -> bytes: ...  # noqa: D102
    @property
    def profile(self) -> Profile: ...  # noqa: D102
    @property
    def asset_kind(self) -> str: ...  # noqa: D102
    @property
    def asset_name(self) -> str: ...  # noqa: D102
    @property
    def commune(self) -> str: ...  # noqa: D102
    @property
    def street(self) -> str: ...  # noqa: D102
    @property
    def latitude(self) -> float: ...  # noqa: D102
    @property
    def longitude(self) -> float: ...  # noqa: D102
    @property
    def attributes(self) -> dict[str, Any]: ...  # noqa: D102


async def provision_in_bulk(run: RunInfo, tenant_id: int, api_key: str, fleet: FleetPlan) -> None:
    """Register gateways and profiles over the API, assets and devices in bulk.

    Raises:
        ProvisioningFailed: the API rejected something.
    """
    api = Provisioner(run.api_url, api_key)
    try:
        await api.create_gateways(fleet.gateways)
        profiles = await api.create_profiles(fleet.devices, EXPECTED_INTERVAL_S)
    finally:
        await api.close()
    keys = KeyWrap(run.kek_id, bytes.fromhex(run.kek))
    connection = await connect(run.database_admin_url, "simulator")
    try:
        async with connection.transaction():
            await register_devices(connection, tenant_id, fleet.devices, profiles, datetime.now(UTC) - SINCE, keys)
    finally:
        await connection.close()


async def register_devices(
    connection: Connection,
    tenant_id: int,
    plans: Sequence[Registrable],
    profiles: Mapping[str, int],
    since: datetime,
    keys: KeyWrap,
) -> tuple[dict[str, int], dict[str, int]]:
    """Assets, and the devices that serve them since then, in an administrator's transaction; ids by name of asset.

    Raises:
        UniqueViolationError: a DevEUI is registered by another tenant.
    """
    names = [plan.asset_name for plan in plans]
    added = await connection.fetch(
        ADD_ASSETS,
        tenant_id,
        [plan.asset_kind for plan in plans],
        names,
        [plan.commune for plan in plans],
        [plan.street for plan in plans],
        [plan.latitude for plan in plans],
        [plan.longitude for plan in plans],
        [plan.attributes for plan in plans],
        since,
    )
    assets = {row["name"]: row["id"] for row in added}
    added = await connection.fetch(
        ADD_DEVICES,
        tenant_id,
        JOIN_EUI,
        keys.kek_id,
        since,
        [plan.dev_eui for plan in plans],
        names,
        [profiles[plan.profile.name] for plan in plans],
        [slot_of_dev_eui(plan.dev_eui) for plan in plans],
        [keys.wrap(plan.app_key, device_owner(plan.dev_eui, "app_key")) for plan in plans],
    )
    devices = {row["name"]: row["id"] for row in added}
    served = [assets[name] for name in names], [devices[name] for name in names]
    await connection.execute(WITHOUT_TRIGGERS)
    await connection.execute(ADD_ASSIGNMENTS, tenant_id, since, *served)
    await connection.execute(WITH_TRIGGERS)
    await connection.execute(COUNT)
    await connection.execute(SETTLE, *served)
    return assets, devices
