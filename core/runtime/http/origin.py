"""From where a connection comes: behind proxies that are listed, what they say in X-Forwarded-For."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """The address; one of IPv4 in IPv6's clothes is one of IPv4. None for anything else."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def is_listed(text: str, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of the networks."""
    address = address_of(text)
    return address is not None and any(
        address.version == network.version and address in network for network in networks
    )


def client_address(peer: str, forwarded: Sequence[str], proxies: Sequence[Network]) -> str:
    """The address of the client: the last of the `X-Forwarded-For` lines that no proxy of ours has.

    Each proxy adds its peer at the end; what stands before the first that is not ours can be anybody's invention.
    """
    address = address_of(peer)
    hops = [hop for line in forwarded for hop in line.split(",")]
    while address is not None and hops and is_listed(str(address), proxies):
        nearer = address_of(hops.pop())
        if nearer is None:
            break
        address = nearer
    return peer if address is None else str(address)
