"""Decides which datagrams are let in: by the rate of each sender, and by the address of each gateway. Pure."""

from collections.abc import Container, Hashable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from core.runtime.token_bucket import TokenBucket
from lorawan.gateway.semtech_udp import DatagramType
from lorawan.identifiers import GatewayId

BURST_S = 10.0
# Anybody can write any address on a datagram. Beyond this many, new addresses wait until buckets are full again.
MAX_ADDRESSES = 10_000
SWEEP_EVERY_S = 1.0

Key = TypeVar("Key", bound=Hashable)


class Limits:
    """A token bucket for each registered gateway's own sockets, and one for each other address and port."""

    def __init__(self, gateway_rate: float, address_rate: float) -> None:
        self._gateway_rate = gateway_rate
        self._address_rate = address_rate
        self._gateways: dict[bytes, TokenBucket] = {}
        self._addresses: dict[tuple[str, int], TokenBucket] = {}
        self._swept_at = float("-inf")

    def of_gateway(self, gateway_id: bytes, now: float) -> bool:
        """Whether this registered gateway may send one more datagram, which is then counted."""
        return _take_token(self._gateways, gateway_id, self._gateway_rate, now)

    def of_address(self, address: tuple[str, int], now: float) -> bool:
        """The same for an address and port from which no registered gateway sends."""
        if address not in self._addresses and len(self._addresses) >= MAX_ADDRESSES and not self._made_room(now):
            return False
        return _take_token(self._addresses, address, self._address_rate, now)

    def _made_room(self, now: float) -> bool:
        """Forget addresses whose bucket is full again, at most once a second: it looks at all of them."""
        if now - self._swept_at >= SWEEP_EVERY_S:
            self._swept_at = now
            oldest = now - BURST_S
            self._addresses = {
                address: bucket for address, bucket in self._addresses.items() if bucket.counted_at > oldest
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


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a datagram in a registered gateway's name comes in."""

    is_own: bool = False
    """It comes from the socket that the gateway is locked to, and spends the gateway's own budget."""
    holder: str | None = None
    """The address that the gateway is held by, so that the datagram is rejected."""


OWN = Admission(is_own=True)
NOT_OWN = Admission()


class _Lock(NamedTuple):
    host: str
    port: int
    heard_at: float


class SocketLock:
    """Keeps a gateway's address and sockets while it sends, because Semtech UDP authenticates nobody.

    A forwarder has two sockets, one that pushes and one that pulls. A network that translates addresses may give
    each its own: each is kept alone, but nobody keeps the address that pulls from pushing. Downlinks go to the
    pulling socket, so nothing but that socket pulls or acknowledges. The pushing one may change its port within
    its address: translators forget a socket that pauses for half a minute, and a frame that waited for the lock
    would be lost.
    """

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._pushing: dict[GatewayId, _Lock] = {}
        self._pulling: dict[GatewayId, _Lock] = {}

    def admit(self, gateway_id: GatewayId, kind: DatagramType, address: tuple[str, int], now: float) -> Admission:
        """Whether the datagram comes in; a silent gateway is locked to the address and port of its next one."""
        kept = self._pushing if kind is DatagramType.PUSH_DATA else self._pulling
        host, port = address
        former = kept.get(gateway_id)
        if former is not None and kept is self._pushing:
            former = self._as_pulled(former, self._pulling.get(gateway_id), host, now)
        if former is None or now - former.heard_at >= self._silence_s or (former.host, former.port) == address:
            if kind is not DatagramType.TX_ACK:
                kept[gateway_id] = _Lock(host, port, now)
            return OWN
        if kind is DatagramType.PUSH_DATA and former.host == host:
            return NOT_OWN
        return Admission(holder=former.host)

    def _as_pulled(self, former: _Lock, pulling: _Lock | None, host: str, now: float) -> _Lock | None:
        """What a lock on pushing is worth beside the pulling one: None when it gives way to `host`.

        Of a gateway that has pushed from where it pulls it lasts as long as it pulls, which it does every few
        seconds while it may push every half a minute. Who pushed first from elsewhere does not keep it from that.
        """
        if pulling is None or now - pulling.heard_at >= self._silence_s:
            return former
        if pulling.host == former.host:
            return former._replace(heard_at=max(former.heard_at, pulling.heard_at))
        return None if pulling.host == host else former

    def keep_only(self, gateway_ids: Container[bytes]) -> None:
        """Forget the sockets of gateways that are no longer registered."""
        for kept in (self._pushing, self._pulling):
            for gateway_id in [known for known in kept if known not in gateway_ids]:
                del kept[gateway_id]
