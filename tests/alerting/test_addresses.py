"""An address that is a password is sealed, shown as its host, and reached all the same."""

from typing import Any

import pytest

from alerting import proof
from alerting.addresses import is_password, seal_addresses, shown_url
from core.runtime.postgres import Pool
from tests.alerting.sending import KEYS, send, working


@pytest.mark.parametrize(
    ("form", "url", "password"),
    [
        ("chat", "https://mattermost.example.fr/hooks/x", True),
        ("teams", "https://prod-1.westeurope.logic.azure.com/workflows/x", True),
        ("standard", "https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX", True),
        ("standard", "https://prod.example.com/invoke?sig=abc", True),
        ("cloudevents", "https://n8n.example.fr/webhook/2f1c7c52-6e5b-4d0e-9f0c-1a2b3c4d5e6f", True),
        ("standard", "https://hook.eu1.make.com/u5k3x9l2m8q1w7z4abcdefgh12345678", True),
        ("standard", "https://si.example.fr/territoire/gestion-des-tournees-de-collecte", False),
        ("standard", "https://si.example.fr/api/v2/evenements", False),
        ("email", "mailto:astreinte@mairie.fr", False),
    ],
)
def test_an_address_is_a_password_when_a_service_drew_it(form: str, url: str, password: bool) -> None:
    assert is_password(form, url) is password
    assert (shown_url(form, url) == url) is not password
    assert shown_url(form, shown_url(form, url)) == shown_url(form, url)


async def test_an_address_that_was_kept_openly_is_sealed_and_messages_still_arrive(
    pool: Pool, database_url: str, place: Any, receiver: Any
) -> None:
    endpoint = await place.endpoint(receiver)
    await pool.execute("UPDATE webhook_endpoint SET url = $1", f"{receiver.url}?sig=motdepasse")
    await proof.accept(pool, endpoint.id)  # Another address is to be proved; one that is sealed is the same.

    async with pool.acquire() as connection:
        sealed = [await seal_addresses(connection, KEYS) for _ in range(2)]
    stored = await pool.fetchval("SELECT t::text FROM webhook_endpoint t")
    async with working(pool, database_url):
        await send(pool, endpoint.id)
        await receiver.until(1)

    assert sealed == [1, 0]
    assert "motdepasse" not in stored
