"""Every address that is not of the public Internet is rejected, however it is written."""

import asyncio
import ssl
from ipaddress import ip_address

import httpx
import pytest

from core.runtime.http.guarded_client import (
    AllowList,
    ForbiddenDestination,
    GuardedTransport,
    check_destination,
    is_public,
    resolve,
)

PUBLIC_PORTS = frozenset({443})
NOBODY = AllowList()

NOT_PUBLIC = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",  # Shared address space of operators' NAT (RFC 6598).
    "127.0.0.1",
    "169.254.169.254",  # Metadata of clouds.
    "172.16.0.1",
    "192.0.0.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",  # IPv4-compatible 127.0.0.1.
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1 (RFC 6052).
    "64:ff9b::a00:1",
    "64:ff9b:1::a00:1",  # RFC 8215.
    "64:ff9b:1:a00:0:100:909:909",  # The same, 10.0.0.1 after 48 bits and 9.9.9.9 as a suffix that means nothing.
    "2001:0:a00:1::1",  # Teredo whose server is 10.0.0.1.
    "2002:7f00:1::",  # 6to4 of 127.0.0.1.
    "2002:a00:1::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",  # Site-local, deprecated and still somebody's inner network (RFC 3879).
    "ff02::1",
]


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_rejects_an_address_that_is_not_public(text: str) -> None:
    assert not is_public(ip_address(text))
    with pytest.raises(ForbiddenDestination, match="n'est pas une adresse publique"):
        check_destination("hook.example.fr", 443, [ip_address("9.9.9.9"), ip_address(text)], NOBODY, PUBLIC_PORTS)


@pytest.mark.parametrize("text", ["9.9.9.9", "2620:fe::fe", "::ffff:9.9.9.9", "64:ff9b::909:909"])
def test_accepts_a_public_address_on_443_only(text: str) -> None:
    check_destination("hook.example.fr", 443, [ip_address(text)], NOBODY, PUBLIC_PORTS)

    with pytest.raises(ForbiddenDestination, match="port 8443"):
        check_destination("hook.example.fr", 8443, [ip_address(text)], NOBODY, PUBLIC_PORTS)


@pytest.mark.parametrize("entry", ["10.1.0.0/16", "10.1.2.3", "intra.mairie.fr", "Intra.Mairie.FR."])
def test_the_allow_list_opens_a_network_or_a_name_on_any_port(entry: str) -> None:
    allow = AllowList.parse([entry])

    check_destination("intra.mairie.fr", 8080, [ip_address("10.1.2.3")], allow, PUBLIC_PORTS)
    with pytest.raises(ForbiddenDestination):
        check_destination("other.mairie.fr", 8080, [ip_address("10.2.2.3")], allow, PUBLIC_PORTS)


def test_the_allow_list_sees_through_a_mapped_address() -> None:
    allow = AllowList.parse(["10.1.0.0/16"])

    check_destination("h", 8080, [ip_address("::ffff:10.1.2.3")], allow, PUBLIC_PORTS)


@pytest.mark.parametrize(
    "host", ["localhost", "127.1", "2130706433", "0x7f000001", "0177.1", "0", "[::1]", "[::ffff:7f00:1]"]
)
async def test_rejects_every_spelling_of_this_machine_before_connecting(host: str) -> None:
    connected = asyncio.Event()

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connected.set()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport = GuardedTransport(ssl.create_default_context(), NOBODY, permit_http=True)
    async with server, httpx.AsyncClient(transport=transport, trust_env=False) as client:
        with pytest.raises(ForbiddenDestination):
            await client.post(f"http://{host}:{port}/")

    assert not connected.is_set()


async def test_resolves_to_addresses_without_a_scope() -> None:
    assert ip_address("127.0.0.1") in await resolve("127.0.0.1", 443)
