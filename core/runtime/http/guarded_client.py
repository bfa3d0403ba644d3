"""Where addresses of tenants may lead, decided at connect time: what is checked is connected to (no rebinding).

A webhook, or the HTTP API of another LNS, could otherwise reach into the platform operator's own network
(OWASP API7, SSRF).
"""

import asyncio
import ssl
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, cast

import httpcore
import httpx

from core.runtime.http.lookups import look_up

Address = IPv4Address | IPv6Address

HTTPS_PORT = 443
HTTP_PORT = 80
# Networks whose IPv6 addresses carry an IPv4 address in their last 32 bits: NAT64 (RFC 6052) and the deprecated
# IPv4-compatible form. To Python 64:ff9b::/96 is global whatever it leads to.
CARRIES_IPV4 = tuple(map(IPv6Network, ("64:ff9b::/96", "::/96")))
# A local NAT64 (RFC 8215) keeps the IPv4 address where it likes: these addresses are nobody's but their owner's.
LOCAL_NAT64 = IPv6Network("64:ff9b:1::/48")
IPV4_BITS = 0xFFFF_FFFF


class ForbiddenDestination(Exception):
    """Nothing of ours goes there; the message says why, in French, and names no address behind a host name."""


@dataclass(frozen=True, slots=True)
class AllowList:
    """What a tenant may reach besides the public Internet: networks, and host names."""

    networks: tuple[Any, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "AllowList":
        """From `tenant.webhook_allow_list`: what is no network is a host name."""
        networks: list[Any] = []
        hosts: set[str] = set()
        for entry in entries:
            try:
                networks.append(ip_network(entry.strip(), strict=False))
            except ValueError:
                hosts.add(_host_name(entry))
        return cls(tuple(networks), frozenset(hosts))

    def allows(self, host: str, address: Address) -> bool:
        """Whether this address, found under this name, is allowed whatever it is."""
        return _host_name(host) in self.hosts or any(
            inner.version == network.version and inner in network
            for inner in (address, *_carried(address))
            for network in self.networks
        )


def _host_name(host: str) -> str:
    return host.strip().rstrip(".").lower()


def _carried(address: Address) -> Iterator[IPv4Address]:
    """IPv4 addresses to which an IPv6 address leads."""
    if isinstance(address, IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if any(address in network for network in CARRIES_IPV4):
        yield IPv4Address(int(address) & IPV4_BITS)


def is_public(address: Address) -> bool:
    """Whether the address belongs to the public Internet, and every IPv4 address inside it too."""
    if isinstance(address, IPv6Address) and (address.is_site_local or address in LOCAL_NAT64):
        return False
    carried = list(_carried(address))
    if carried:
        return all(is_public(inner) for inner in carried)
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def check_destination(
    host: str, port: int, addresses: Sequence[Address], allow: AllowList, public_ports: frozenset[int]
) -> None:
    """Nothing when every address of `host` may be connected to on `port`.

    Raises:
        ForbiddenDestination: one of them may not.
    """
    if not addresses:
        raise ForbiddenDestination(f"{host} n'a pas d'adresse")
    others = [address for address in addresses if not allow.allows(host, address)]
    if any(not is_public(address) for address in others):
        raise ForbiddenDestination(
            f"{host} n'est pas une adresse publique, ni une que l'exploitant ait autorisée (webhook_allow_list)"
        )
    if others and port not in public_ports:
        listed = " ou ".join(str(allowed) for allowed in sorted(public_ports))
        raise ForbiddenDestination(
            f"le port {port} n'est pas permis hors de la liste autorisée (permis : {listed})"
        )


async def resolve(host: str, port: int) -> list[Address]:
    """Every address of `host`, in the resolver's order; raises httpcore.ConnectError when it has none."""
    try:
        found = await look_up(host, port)
    except (OSError, UnicodeError) as unknown:
        raise httpcore.ConnectError(f"{host}: {unknown}") from unknown
    return list(dict.fromkeys(ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Resolves once, checks every address, connects to one of those that it checked."""

    def __init__(self, allow: AllowList, public_ports: frozenset[int]) -> None:
        self._allow = allow
        self._public_ports = public_ports
        self._backend = cast(httpcore.AsyncNetworkBackend, httpcore.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature.
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to an address of `host`; raises ForbiddenDestination, or httpcore's errors."""
        addresses = await resolve(host, port)
        check_destination(host, port, addresses, self._allow, self._public_ports)
        for number, address in enumerate(addresses, 1):
            try:
                return await self._backend.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses):
                    raise
        raise httpcore.ConnectError(host)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature.
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never: raises ForbiddenDestination."""
        del timeout, socket_options
        raise ForbiddenDestination(f"{path} n'est pas une adresse d'Internet")

    async def sleep(self, seconds: float) -> None:
        """As httpcore asks between its own retries, of which we want none."""
        await asyncio.sleep(seconds)


class GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx over a pool that checks every connection; TLS goes by the name, not by the address."""

    def __init__(self, tls: ssl.SSLContext, allow: AllowList, *, permit_http: bool = False) -> None:
        super().__init__(verify=tls, trust_env=False)
        ports = frozenset({HTTPS_PORT, HTTP_PORT} if permit_http else {HTTPS_PORT})
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls, max_connections=4, retries=0, network_backend=GuardedBackend(allow, ports)
        )
