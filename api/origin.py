"""From where a request comes: behind proxies that are listed, what they say."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from fastapi import Request

Network = IPv4Network | IPv6Network
UNKNOWN = "?"


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def origin_of(request: Request, proxies: Sequence[Network]) -> str:
    """The address of the client: the last of `X-Forwarded-For` that no proxy of ours has."""
    peer = _address(request.client.host) if request.client is not None else None
    forwarded = [part for line in request.headers.getlist("x-forwarded-for") for part in line.split(",")]
    while peer is not None and forwarded and any(peer in network for network in proxies):
        nearer = _address(forwarded.pop())
        if nearer is None:
            break
        peer = nearer
    return UNKNOWN if peer is None else str(peer)
