"""Gateways, profiles and sessions of schema 41 do after the upgrade what they did, until somebody says more."""

from core.runtime.postgres import connect, open_pool
from lorawan.mac_state import MacPolicy
from lorawan.radiated_power import requested_power
from lorawan.regions import EU868
from network.held_state import policy_of_profile
from registry.devices import read_profiles
from registry.gateways import read_gateways
from registry.schema import migrate
from tests.core.runtime.versions import migrate_up_to

PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('metz', 'Metz') RETURNING id),
g AS (INSERT INTO gateway (tenant_id, gateway_id, name, antenna_gain)
      SELECT id, '\\x0102030405060708', 'Mairie', 3 FROM t)
INSERT INTO device_profile (tenant_id, name, vendor, model, codec, expected_interval)
SELECT id, 'p', 'v', 'm', 'elsys.ers', '20 minutes' FROM t
"""


async def test_gateways_and_profiles_of_before_survive_and_nobody_has_said_anything_new_of_them(
    empty_database_url: str,
) -> None:
    await migrate_up_to(41, empty_database_url)
    connection = await connect(empty_database_url)
    await connection.execute(PLANT)
    await connection.close()

    await migrate(empty_database_url)

    async with open_pool(empty_database_url, "test", size=1) as pool:
        (gateway,) = (await read_gateways(pool)).values()
        (profile,) = (await read_profiles(pool)).values()
    assert (gateway.gain_subtracted_by, gateway.max_eirp) == (None, None)
    limit = EU868.downlink_eirp(868_100_000)
    # Lawful whether its forwarder subtracts its 3 dBi or not.
    assert requested_power(limit, gateway.antenna_gain, gateway.gain_subtracted_by, gateway.max_eirp) == 13
    policy = MacPolicy(EU868, rx1_delay=2, adr=False)
    assert policy_of_profile(policy, profile) == policy
    assert profile.expected_interval.total_seconds() == 1200
