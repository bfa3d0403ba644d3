"""Decides which datagrams are let in: by the rate of each sender, and by the address of each gateway. Pure."""

from collections.abc import Container, Hashable
from typing import TypeVar

from core.runtime.token_bucket import TokenBucket
from lorawan.gateway.semtech_udp import DatagramType
from lorawan.identifiers import GatewayId

BURST_S = 10.0
# Anybody can write any address on a datagram. Beyond this many, new addresses wait until buckets are full again.
MAX_ADDRESSES = 10_000
SWEEP_EVERY_S = 1.0

Key = TypeVar("Key", bound=Hashable)


class Limits:
    """A token bucket for each registered gateway, whatever its address, and one for each other address."""

    def __init__(self, gateway_rate: float, address_rate: float) -> None:
        self._gateway_rate = gateway_rate
        self._address_rate = address_rate
        self._gateways: dict[bytes, TokenBucket] = {}
        self._addresses: dict[str, TokenBucket] = {}
        self._swept_at = float("-inf")

    def of_gateway(self, gateway_id: bytes, now: float) -> bool:
        """Whether this registered gateway may send one more datagram, which is then counted."""
        return _take_token(self._gateways, gateway_id, self._gateway_rate, now)

    def of_address(self, host: str, now: float) -> bool:
        """The same for an address from which no registered gateway sends."""
        if host not in self._addresses and len(self._addresses) >= MAX_ADDRESSES and not self._made_room(now):
            return False
        return _take_token(self._addresses, host, self._address_rate, now)

    def _made_room(self, now: float) -> bool:
        """Forget addresses whose bucket is full again, at most once a second: it looks at all of them."""
        if now - self._swept_at >= SWEEP_EVERY_S:
            self._swept_at = now
            oldest = now - BURST_S
            self._addresses = {
                host: bucket for host, bucket in self._addresses.items() if bucket.counted_at > oldest
            }
        return len(self._addresses) < MAX_ADDRESSES

    def keep_only(self, gateway_ids: Container[bytes]) -> None:
        """Forget the buckets of gateways that are no longer registered."""
        self._gateways = {key: bucket for key, bucket in self._gateways.items() if key in gateway_ids}


def _take_token(buckets: dict[Key, TokenBucket], key: Key, rate: float, now: float) -> bool:
    bucket = buckets.get(key)
    if bucket is None:
        bucket = buckets[key] = TokenBucket.full(rate, rate * BURST_S, now)
    return bucket.take_token(now)


class AddressLock:
    """Keeps a gateway's address while it sends, because Semtech UDP authenticates nobody.

    A forwarder has two sockets. A network that translates addresses may give each its own: each is kept alone.
    """

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._pushing: dict[GatewayId, tuple[str, float]] = {}
        self._pulling: dict[GatewayId, tuple[str, float]] = {}

    def holder(self, gateway_id: GatewayId, kind: DatagramType, host: str, now: float) -> str | None:
        """The other address that a gateway is held by, so that this datagram is rejected; None: it may come in."""
        kept = self._pushing if kind is DatagramType.PUSH_DATA else self._pulling
        former = kept.get(gateway_id)
        if former is not None and former[0] != host and now - former[1] < self._silence_s:
            return former[0]
        kept[gateway_id] = (host, now)
        return None

    def keep_only(self, gateway_ids: Container[bytes]) -> None:
        """Forget the addresses of gateways that are no longer registered."""
        for kept in (self._pushing, self._pulling):
            for gateway_id in [known for known in kept if known not in gateway_ids]:
                del kept[gateway_id]
