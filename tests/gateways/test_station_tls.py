"""Stations over TLS: what they are shown, and what they must show."""

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from core.runtime.postgres import Pool
from gateways import station_server, station_tls
from lab.certificates import Authority
from lorawan.identifiers import GatewayId
from services.gateway_bridge.settings import Settings
from tests.gateways.stations import UPLINK, Rig, open_rig, register, until
from tests.gateways.ws_station import connect_to, dashed, discover, ws_station


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def secure_rig(
    bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str, authority: Authority
) -> AsyncGenerator[Rig]:
    certificate, key = authority.sign("lns")
    settings = bridge_settings.model_copy(
        update={
            "station_certificate": certificate,
            "station_key": key,
            "station_client_ca": authority.certificate,
        }
    )
    async with open_rig(settings, pool, gateway_mqtt_url) as opened:
        yield opened


def shown(trusted: Authority, certificate: tuple[Path, Path] | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=trusted.certificate)
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context


def secure(rig: Rig) -> str:
    return f"wss://127.0.0.1:{rig.station_port}"


@pytest.mark.parametrize("written", [dashed, bytes.hex, lambda eui: dashed(eui).upper().replace("-", ":")])
async def test_a_certificate_in_its_own_name_lets_a_gateway_in(
    secure_rig: Rig, authority: Authority, gateway_id: GatewayId, written
) -> None:
    await register(secure_rig.pool, gateway_id)
    tls = shown(authority, authority.sign(written(gateway_id)))

    async with ws_station(secure(secure_rig), gateway_id, ssl=tls) as station:
        await secure_rig.reachable(gateway_id)
        await station.receive(UPLINK)

        assert [frame.gateway_id for frame in await secure_rig.frames(1)] == [gateway_id]


async def test_a_certificate_is_good_for_its_own_gateway_only(
    secure_rig: Rig, authority: Authority, gateway_id: GatewayId
) -> None:
    tls = shown(authority, authority.sign("0102030405060708"))

    discovered = await discover(secure(secure_rig), dashed(gateway_id), ssl=tls)
    with pytest.raises(InvalidStatus) as refused:
        async with connect_to(f"{secure(secure_rig)}/gateway/{gateway_id.hex()}", ssl=tls):
            pass

    assert "certificate" in discovered["error"]
    assert "uri" not in discovered
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize(
    ("common_name", "alternatives", "gateway"),
    [
        ("0102030405060708", (), "0102030405060708"),
        ("mairie", (("DNS", "0102030405060708.stations.example"),), "0102030405060708"),
        ("mairie", (("URI", "urn:eui:01-02-03-04-05-06-07-08"),), "0102030405060708"),
        # What is more precise holds, and a certificate belongs to one gateway.
        ("0102030405060708", (("DNS", "ff02030405060708"),), "ff02030405060708"),
        ("0102030405060708", (("DNS", "passerelle.example"), ("IP Address", "10.0.0.1")), "0102030405060708"),
        ("mairie", (("DNS", "0102030405060708"), ("URI", "urn:eui:ff02030405060708")), None),
        ("mairie", (("DNS", "0102030405060708"), ("URI", "urn:eui:0102030405060708")), "0102030405060708"),
        ("mairie", (), None),
    ],
)
def test_a_certificate_names_one_gateway_in_an_alternative_name_or_in_its_common_name(
    common_name: str, alternatives: tuple[Any, ...], gateway: str | None
) -> None:
    shown = {"subject": ((("commonName", common_name),),), "subjectAltName": alternatives}
    transport = asyncio.Transport({"peercert": shown})

    named = station_tls.certified_gateway(transport)

    assert (None if named is None else named.hex()) == gateway


async def test_a_certificate_that_names_no_gateway_is_good_for_none(
    secure_rig: Rig, authority: Authority, gateway_id: GatewayId
) -> None:
    tls = shown(authority, authority.sign("Passerelle de la mairie"))

    assert "error" in await discover(secure(secure_rig), dashed(gateway_id), ssl=tls)


async def test_without_a_certificate_or_a_token_nobody_is_received(
    secure_rig: Rig, authority: Authority, gateway_id: GatewayId
) -> None:
    tls = shown(authority, None)

    discovered = await discover(secure(secure_rig), dashed(gateway_id), ssl=tls)
    with pytest.raises(InvalidStatus) as refused:
        async with connect_to(f"{secure(secure_rig)}/gateway/{gateway_id.hex()}", ssl=tls):
            pass

    assert ("uri" in discovered, refused.value.response.status_code) == (False, 401)


async def test_with_a_certificate_of_another_authority_nobody_is_received(
    secure_rig: Rig, authority: Authority, gateway_id: GatewayId, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    stranger = Authority(tmp_path / "other").sign(gateway_id.hex())

    # With TLS 1.3 the client learns of it after its own side of the handshake.
    with pytest.raises((ssl.SSLError, ConnectionError, ConnectionClosed, InvalidMessage, EOFError)):
        await discover(secure(secure_rig), dashed(gateway_id), ssl=shown(authority, stranger))


async def test_a_certificate_on_the_revocation_list_ends_the_connection_and_lets_nobody_in(
    bridge_settings: Settings,
    pool: Pool,
    gateway_mqtt_url: str,
    gateway_id: GatewayId,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(station_server, "RENEWED_EVERY_S", 0.1)
    certificate, key = authority.sign("lns")
    theirs, other = authority.sign(gateway_id.hex()), authority.sign("0102030405060708")
    crl = authority.revoke()
    settings = bridge_settings.model_copy(
        update={
            "station_certificate": certificate,
            "station_key": key,
            "station_client_ca": authority.certificate,
            "station_crl": crl,
        }
    )
    async with open_rig(settings, pool, gateway_mqtt_url) as rig:
        async with ws_station(secure(rig), gateway_id, ssl=shown(authority, theirs)) as station:
            authority.revoke(theirs[0])
            async with asyncio.timeout(20):
                await station.connection.wait_closed()

        with pytest.raises((ssl.SSLError, ConnectionError, ConnectionClosed, InvalidMessage, EOFError)):
            await discover(secure(rig), dashed(gateway_id), ssl=shown(authority, theirs))
        assert "uri" in await discover(secure(rig), "0102030405060708", ssl=shown(authority, other))


async def test_behind_a_proxy_of_tcp_a_station_is_where_the_proxy_says_before_tls_begins(
    bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str, gateway_id: GatewayId, authority: Authority
) -> None:
    certificate, key = authority.sign("lns")
    settings = bridge_settings.model_copy(
        update={
            "station_certificate": certificate,
            "station_key": key,
            "station_client_ca": authority.certificate,
            "station_proxy_protocol": (ip_network("127.0.0.1/32"),),
        }
    )
    tls = shown(authority, authority.sign(gateway_id.hex()))

    async def behind(rig: Rig, host: str, line: bytes) -> socket.socket:
        connection = socket.socket()
        connection.bind((host, 0))
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", rig.station_port))
        await asyncio.get_running_loop().sock_sendall(connection, line)
        return connection

    async with open_rig(settings, pool, gateway_mqtt_url) as rig:
        await register(rig.pool, gateway_id)
        uri = f"{secure(rig)}/gateway/{gateway_id.hex()}"
        line = b"PROXY TCP4 198.51.100.4 127.0.0.1 51234 3001\r\n"
        async with connect_to(uri, ssl=tls, sock=await behind(rig, "127.0.0.1", line)):
            query = "SELECT address FROM unknown_gateway UNION SELECT address FROM gateway_state"

            async def is_there() -> bool:
                return await rig.pool.fetchval(query) == "198.51.100.4"

            await until(is_there)
        for host, sent in (("127.0.0.2", line), ("127.0.0.1", b"")):
            with pytest.raises((ConnectionError, InvalidMessage, EOFError, ssl.SSLError)):
                async with connect_to(uri, ssl=tls, sock=await behind(rig, host, sent)):
                    pass


async def test_plain_words_on_the_port_of_tls_hurt_nobody(
    secure_rig: Rig, authority: Authority, gateway_id: GatewayId
) -> None:
    with pytest.raises((ConnectionError, InvalidMessage, EOFError)):
        await discover(f"ws://127.0.0.1:{secure_rig.station_port}", dashed(gateway_id))

    tls = shown(authority, authority.sign(gateway_id.hex()))
    assert "uri" in await discover(secure(secure_rig), dashed(gateway_id), ssl=tls)


async def test_an_address_that_is_set_is_the_one_that_stations_are_answered(
    bridge_settings: Settings, pool: Pool, gateway_mqtt_url: str, gateway_id: GatewayId
) -> None:
    settings = bridge_settings.model_copy(update={"station_url": "wss://lns.example.fr:443"})
    async with open_rig(settings, pool, gateway_mqtt_url) as rig:
        discovered = await discover(rig.station_url, dashed(gateway_id))

    assert discovered["uri"] == f"wss://lns.example.fr:443/gateway/{gateway_id.hex()}"


@pytest.mark.parametrize(
    "settings",
    [
        {"station_certificate": "a.pem"},
        {"station_key": "a.pem"},
        {"station_client_ca": "a.pem"},
        {"station_crl": "a.pem"},
        {"station_credentials": "perhaps"},
        {"station_proxies": "10.0.0.0/33"},
        {"station_url": "https://lns:1"},
        {"station_url": "wss://lns.example.fr"},
        {"station_url": "wss://lns.example.fr:443/path"},
    ],
)
def test_settings_that_do_not_fit_together_are_rejected(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"station|STATION"):
        Settings.model_validate({"database_url": "postgresql://a", "nats_url": "nats://a", **settings})
