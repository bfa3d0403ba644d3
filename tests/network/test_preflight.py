"""What the API says of a row while the real service works on it."""

from datetime import timedelta

import httpx
import pytest

from api.app import create_app
from registry.keys import KeyWrap
from registry.tenants import create_api_key
from tests.api.conftest import client_of

GATEWAY = bytes([0xAA] * 7 + [1])
NOBODYS = bytes([0xBB] * 8)
# The API has the machine's clock: what lasts seconds on the service's has not begun when the API is asked.
FUTURE_S = 60


@pytest.fixture
async def ask(network, api_pool):
    """Ask the API for the device's rows, oldest first, as its manager."""
    opened: list[httpx.AsyncClient] = []

    async def rows(device) -> list[dict]:
        if not opened:
            tenant_id = await network.pool.fetchval("SELECT tenant_id FROM device WHERE id = $1", device.id)
            key = await create_api_key(network.pool, tenant_id, "test", ("read",))
            opened.append(client_of(create_app(api_pool, network.bus, KeyWrap("kek-1", bytes(16)), 4), key))
        answer = await opened[0].get(f"/v1/devices/{device.dev_eui.hex()}/downlinks")
        assert answer.status_code == 200, answer.text
        return answer.json()["items"][::-1]

    yield rows
    for client in opened:
        await client.aclose()


async def register(network, gateway_id: bytes, *, seen_ago: timedelta) -> None:
    """By another tenant than the device's: the syndicat has the gateways."""
    await network.pool.execute(
        "WITH syndicat AS (INSERT INTO tenant (slug, name) VALUES ('syndicat', 'Syndicat') RETURNING id), "
        "g AS (INSERT INTO gateway (tenant_id, gateway_id, name) SELECT id, $1, 'g' FROM syndicat RETURNING id) "
        "INSERT INTO gateway_state (gateway_id, frontend, address, last_seen_at) "
        "SELECT id, 'semtech_udp', 'a', now() - $2::interval FROM g",
        gateway_id,
        seen_ago,
    )


@pytest.mark.parametrize("device_class", ["A", "C"])
async def test_before_the_join_and_before_the_first_uplink_a_row_waits_for_them(
    network, ask, device_class: str
) -> None:
    device = await network.device(device_class=device_class)
    await network.enqueue(device)
    (without_session,) = await ask(device)

    await network.receive(device.join())
    await network.bridge.next()
    await network.all_acknowledged()
    (joined,) = await ask(device)

    assert without_session["waits_for"] == "join"
    assert without_session["explanation"].startswith("attend que le capteur rejoigne le réseau")
    assert joined["waits_for"] == "first_uplink"
    assert joined["explanation"] == "attend le premier message montant du capteur"


async def test_a_class_a_row_waits_for_an_uplink_then_for_its_acknowledgement_and_holds_up_the_next(
    network, ask
) -> None:
    device = await network.joined()
    await register(network, GATEWAY, seen_ago=timedelta())
    first = await network.enqueue(device, confirmed=True)
    await network.enqueue(device)
    queued = await ask(device)

    await network.receive(device.uplink())
    await network.downlink(first, "sent")
    sent = await ask(device)

    assert [row["explanation"] for row in queued] == [
        "attend le prochain message montant du capteur",
        "attend le prochain message montant du capteur, après 1 autre message",
    ]
    assert sent[0]["explanation"] == "émis, accusé de réception attendu, avec le prochain message montant"
    assert sent[1]["explanation"] == f"accusé de réception attendu du message n° {first}"


async def test_a_class_a_row_says_that_the_gateway_of_its_device_is_offline(network, ask) -> None:
    device = await network.joined()
    await register(network, GATEWAY, seen_ago=timedelta(minutes=2))
    await network.enqueue(device)

    (row,) = await ask(device)

    assert row["explanation"] == "attend le prochain message montant du capteur ; passerelle hors ligne"


async def test_a_class_c_row_is_locked_for_the_windows_of_the_last_uplink(network, ask) -> None:
    device = await network.joined(device_class="C")
    await register(network, GATEWAY, seen_ago=timedelta())
    network.clock.advance(FUTURE_S)
    await network.receive(device.uplink(b"again"))
    await network.all_acknowledged()
    await network.enqueue(device)

    (row,) = await ask(device)

    assert row["waits_for"] == "locked"
    assert "fenêtres de réception du dernier message montant" in row["explanation"]


@pytest.mark.parametrize("device_class", ["A", "C"])
async def test_a_row_without_time_on_the_air_says_until_when(network, ask, device_class: str) -> None:
    device = await network.joined(device_class=device_class)
    network.bridge.statuses[GATEWAY] = "DUTY_CYCLE_OVERFLOW"
    network.clock.advance(FUTURE_S)
    downlink_id = await network.enqueue(device)
    if device_class == "A":
        await network.receive(device.uplink())
    await network.settled(downlink_id)

    (row,) = await ask(device)

    assert (row["state"], row["waits_for"], row["attempts"]) == ("queued", "duty_cycle", 0)
    assert row["explanation"].startswith("plus de temps d'émission avant ")
    assert row["waits_until"] is not None


async def test_a_class_c_row_outlives_a_gateway_that_is_away(network, ask) -> None:
    device = await network.joined(device_class="C")
    await network.receive(device.uplink(b"heard by a gateway that then goes"), [NOBODYS])
    await network.all_acknowledged()
    await network.time_passes(3)
    downlink_id = await network.enqueue(device)
    tries = 0
    while tries < 4:  # More than three: nothing of this is an attempt.
        await network.settled(downlink_id)
        (row,) = await ask(device)
        tries += 1
        await network.pool.execute("UPDATE downlink SET not_before = NULL, reason = NULL")
    await network.bridge.hold(NOBODYS)
    sent = await network.downlink(downlink_id, "sent")

    assert (row["state"], row["waits_for"]) == ("queued", "gateway")
    assert row["explanation"].startswith("passerelle hors ligne, nouvel essai à ")
    assert sent.attempts == 1
