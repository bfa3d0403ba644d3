"""Limits how many datagrams a gateway, or an unknown address, may send. Pure."""

from collections.abc import Container

from gateways.token_bucket import Budget

BURST_S = 10.0
# Anybody can write any address on a datagram. Beyond this many, new ones wait until others have been silent.
MAX_ADDRESSES = 10_000
SWEEP_EVERY_S = 1.0


class Limits:
    """A budget for each registered gateway, whatever its address, and one for each address of anybody else."""

    def __init__(self, gateway_rate: float, address_rate: float) -> None:
        self._gateway_rate = gateway_rate
        self._address_rate = address_rate
        self._gateways: dict[bytes, Budget] = {}
        self._addresses: dict[str, Budget] = {}
        self._swept_at = float("-inf")

    def of_gateway(self, gateway_id: bytes, now: float) -> bool:
        """Whether this registered gateway may send one more datagram; it is spent if so."""
        budget = self._gateways.get(gateway_id)
        if budget is None:
            self._gateways[gateway_id] = budget = Budget.full(
                self._gateway_rate, self._gateway_rate * BURST_S, now
            )
        return budget.spend(now)

    def of_address(self, host: str, now: float) -> bool:
        """The same for an address from which no registered gateway speaks."""
        budget = self._addresses.get(host)
        if budget is None:
            if len(self._addresses) >= MAX_ADDRESSES and not self._made_room(now):
                return False
            self._addresses[host] = budget = Budget.full(self._address_rate, self._address_rate * BURST_S, now)
        return budget.spend(now)

    def _made_room(self, now: float) -> bool:
        """Forget addresses whose budget is full again, at most once a second: it looks at all of them."""
        if now - self._swept_at >= SWEEP_EVERY_S:
            self._swept_at = now
            oldest = now - BURST_S
            self._addresses = {host: budget for host, budget in self._addresses.items() if budget.at > oldest}
        return len(self._addresses) < MAX_ADDRESSES

    def keep_only(self, gateway_ids: Container[bytes]) -> None:
        """Forget the budgets of gateways that are no longer registered."""
        self._gateways = {key: budget for key, budget in self._gateways.items() if key in gateway_ids}
