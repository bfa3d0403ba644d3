"""Locks a gateway's UDP address while it sends, because Semtech UDP authenticates nobody. Pure.

A forwarder has two sockets. A network that translates addresses may give each its own: each is locked alone.
"""

from collections.abc import Container

from lorawan.gateway.semtech_udp import DatagramType
from lorawan.identifiers import GatewayId


class AddressLock:
    """The last address of each registered gateway's two sockets; seconds of a clock that does not go back."""

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self._pushing: dict[GatewayId, tuple[str, float]] = {}
        self._pulling: dict[GatewayId, tuple[str, float]] = {}

    def holder(self, gateway_id: GatewayId, kind: DatagramType, host: str, now: float) -> str | None:
        """The address that a datagram is refused for; None when it may come in, and then its address is kept."""
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
