"""Endpoints that receive at once: tests of what is sent are about no proof."""

from alerting import proof, store
from alerting.message_formats import STANDARD
from core.runtime.postgres import Connection, Pool
from registry.keys import KeyWrap


async def create_proved_endpoint(
    connection: Connection | Pool,
    keys: KeyWrap,
    tenant_id: int,
    url: str,
    description: str = "",
    form: str = STANDARD,
) -> tuple[store.Endpoint, str]:
    endpoint, secret = await store.create_endpoint(connection, keys, tenant_id, url, description, form)
    await proof.accept(connection, endpoint.id)
    return endpoint, secret


async def proved_address(connection: Connection, keys: KeyWrap, tenant_id: int, address: str) -> int:
    endpoint_id, _ = await store.endpoint_of_address(connection, keys, tenant_id, address)
    await proof.accept(connection, endpoint_id)
    return endpoint_id


async def prove_all(pool: Pool) -> None:
    """Of endpoints that were made by the API: proved, and as if nothing had been sent to them."""
    await pool.execute("UPDATE webhook_endpoint SET state = 'enabled', proved_at = now() WHERE state = 'unproved'")
    await pool.execute("DELETE FROM webhook_probe")
    await pool.execute("DELETE FROM jobs.pgqueuer")
