"""A load's devices in the registry: profiles and gateways over the API, as an integrator would; the rest in bulk.

Thousands of requests would take longer than what is to be measured.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from core.runtime.postgres import connect
from lab.history.store import ADD_ASSETS, ADD_ASSIGNMENTS, ADD_DEVICES
from lab.simulator.fleet import JOIN_EUI, GatewayPlan, Plan
from lab.simulator.provision import Provisioner
from lorawan.identifiers import DevEui, slot_of_dev_eui
from registry.keys import KeyWrap
from services.supervisor.run_info import RunInfo

EXPECTED_INTERVAL_S = 600.0
# Serves its asset since before its first uplink.
SINCE = timedelta(minutes=5)


async def provision(
    run: RunInfo, tenant_id: int, api_key: str, gateways: Sequence[GatewayPlan], devices: Sequence[Plan]
) -> None:
    """Register gateways, profiles, assets and the devices that serve them.

    Raises:
        ProvisioningFailed: the API refused something.
    """
    api = Provisioner(run.api_url, api_key)
    try:
        await api.create_gateways(gateways)
        profiles = await api.create_profiles(devices, EXPECTED_INTERVAL_S)
    finally:
        await api.close()
    await _register(run, tenant_id, devices, profiles)


async def _register(run: RunInfo, tenant_id: int, plans: Sequence[Plan], profiles: dict[str, int]) -> None:
    keys, since = KeyWrap(run.kek_id, bytes.fromhex(run.kek)), datetime.now(UTC) - SINCE
    names = [plan.asset_name for plan in plans]  # Each its own.
    connection = await connect(run.database_admin_url, "simulator")
    try:
        async with connection.transaction():
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
                [slot_of_dev_eui(DevEui(plan.dev_eui)) for plan in plans],
                [keys.wrap(plan.app_key) for plan in plans],
            )
            devices = {row["name"]: row["id"] for row in added}
            await connection.execute(
                ADD_ASSIGNMENTS,
                tenant_id,
                since,
                [assets[name] for name in names],
                [devices[name] for name in names],
            )
    finally:
        await connection.close()
