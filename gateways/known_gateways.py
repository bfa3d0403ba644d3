"""The registered gateways, and when each was last seen; read from the registry, written in batches."""

import asyncio
import time
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from core.model.entities import Gateway
from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY, ForeignKeyViolationError, Pool
from gateways import gateway_metrics
from gateways.telemetry import ADDRESS_CHANGES, REGISTERED
from lorawan.identifiers import GatewayId
from registry.alert_requests import request_address_alerts
from registry.changes import Change
from registry.gateway_supervision import AddressSeen, save_address_changes
from registry.gateway_tokens import GatewayToken, read_tokens, save_uses
from registry.gateways import (
    GatewaySeen,
    read_gateways,
    read_last_seen,
    save_gateway_states,
    save_unknown_gateways,
)
from registry.mqtt_accounts import AccountProof, read_account_proofs, save_proved_accounts

SAVE_EVERY_S = 5.0
# Between two saves. Anybody can invent gateways: further ones are left out, and recorded when they come again.
MAX_UNKNOWN = 200
MAX_REFUSED_ADDRESSES = 200

log = structlog.get_logger()


class Gateways:
    """The registered gateways, in memory; a change of the registry is live within 5 s."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: dict[bytes, Gateway] = {}
        self._tokens: dict[bytes, list[GatewayToken]] = {}
        self._used: set[str] = set()
        """Tokens that a gateway has shown, by their ids."""
        self._accounts: dict[bytes, list[AccountProof]] = {}
        self._proved: set[bytes] = set()
        """Gateways that were heard over MQTT while they had an account of their own."""

    async def load(self) -> None:
        """Read every gateway, token and MQTT account: there are hundreds, and they change by the day."""
        known, tokens = await read_gateways(self._pool), await read_tokens(self._pool)
        proofs = await read_account_proofs(self._pool)
        former, self._known = self._known, known
        self._tokens = {}
        for token in tokens:
            self._tokens.setdefault(token.gateway_id, []).append(token)
        self._used = {token.id for token in tokens if token.is_used or token.id in self._used}
        self._accounts = {}
        for proof in proofs:
            self._accounts.setdefault(proof.gateway_id, []).append(proof)
        heard = {proof.gateway_id for proof in proofs if proof.is_proved}
        self._proved = heard | (self._proved & self._accounts.keys())
        for gateway_id in former.keys() - self._known.keys():
            gateway_metrics.forget(gateway_id)
        for gateway_id in self._known.keys() - former.keys():
            gateway_metrics.show_known(gateway_id)
        await self._show_last_seen(self._known.keys() - former.keys())
        REGISTERED.set(len(self._known))

    async def _show_last_seen(self, new: AbstractSet[bytes]) -> None:
        """A gateway that was lost while this process started is missed all the same."""
        if not new:
            return
        for gateway_id, at in (await read_last_seen(self._pool)).items():
            if gateway_id in new:
                gateway_metrics.LAST_SEEN.labels(gateway_id.hex()).set(at.timestamp())

    async def apply(self, changes: list[Change]) -> None:
        """Read the gateways again when one of them changed, or what one proves itself by."""
        if any(change.entity in {"gateway", "mqtt_account"} for change in changes):
            await self.load()

    def get(self, gateway_id: bytes) -> Gateway | None:
        """The gateway with this EUI, if it is registered."""
        return self._known.get(gateway_id)

    def tokens_of(self, gateway_id: bytes) -> list[GatewayToken]:
        """The gateway's tokens, valid or not."""
        return self._tokens.get(gateway_id, [])

    def record_use(self, token: GatewayToken) -> None:
        """Record that a gateway has shown this token."""
        self._used.add(token.id)

    def record_fetched(self, token: GatewayToken) -> None:
        """Know a token that a station has just fetched, before the registry is read again."""
        self._tokens.setdefault(token.gateway_id, []).append(token)

    def record_account(self, gateway_id: bytes) -> bool:
        """Record that a gateway was heard over MQTT under its own account; whether that is new."""
        if gateway_id not in self._accounts or gateway_id in self._proved:
            return False
        self._proved.add(gateway_id)
        return True

    def needs_proof(self, gateway_id: bytes) -> bool:
        """Whether the gateway has used a token or account that is still valid: who comes without is not it."""
        tokens, accounts = self._tokens.get(gateway_id), self._accounts.get(gateway_id)
        if tokens is None and accounts is None:  # Asked at every datagram.
            return False
        now = datetime.now(UTC)
        if gateway_id in self._proved and any(account.is_valid(now) for account in accounts or ()):
            return True
        return any(token.id in self._used and token.is_valid(now) for token in tokens or ())

    def ids(self) -> set[bytes]:
        """Every registered EUI."""
        return set(self._known)

    def __contains__(self, gateway_id: bytes) -> bool:
        return gateway_id in self._known


@dataclass(slots=True)
class _Sight:
    frontend: str
    address: str
    seen_at: float
    stats: dict[str, Any] = field(default_factory=dict[str, Any])


class LastSeen:
    """Signs of life since the last save, one entry per gateway."""

    def __init__(self, pool: Pool, gateways: Gateways) -> None:
        self._pool = pool
        self._gateways = gateways
        self._known: dict[bytes, _Sight] = {}
        self._unknown: dict[bytes, _Sight] = {}
        self._refused: dict[tuple[bytes, str, str, str], int] = {}
        self._used_tokens: set[str] = set()
        self._proved: set[bytes] = set()
        self._proved_by_account: set[bytes] = set()

    def record_seen(
        self, gateway_id: GatewayId, frontend: str, address: str, stats: dict[str, Any] | None = None
    ) -> bool:
        """Record that the gateway was seen; whether it is registered."""
        registered = gateway_id in self._gateways
        sights = self._known if registered else self._unknown
        sight = sights.get(gateway_id)
        if sight is None:
            if not registered and len(sights) >= MAX_UNKNOWN:
                return False
            sights[gateway_id] = sight = _Sight(frontend, address, 0.0)
        sight.frontend, sight.address, sight.seen_at = frontend, address, time.time()
        if registered:  # At once: what is heard while the database is away is heard.
            gateway_metrics.LAST_SEEN.labels(gateway_id.hex()).set(sight.seen_at)
        if stats:
            sight.stats |= stats
        return registered

    def record_proof(self, gateway_id: GatewayId, token: GatewayToken | None) -> None:
        """Record that a gateway has just proved who it is, by a token or by a certificate."""
        self._proved.add(gateway_id)
        if token is not None:
            self._gateways.record_use(token)
            self._used_tokens.add(token.id)

    def record_account(self, gateway_id: GatewayId) -> None:
        """Record that a gateway was heard over MQTT, where the broker keeps each account to its own topics."""
        if self._gateways.record_account(gateway_id):
            self._proved_by_account.add(gateway_id)

    def reject_address(self, gateway_id: GatewayId, frontend: str, former: str, address: str) -> None:
        """Record a sender in a registered gateway's name while that gateway sends from `former`."""
        sight = self._known.get(gateway_id)
        if sight is not None and (sight.frontend, sight.address) == (frontend, address) != (frontend, former):
            del self._known[gateway_id]  # It was let in until another replica said whose the gateway is.
        ADDRESS_CHANGES.labels("refused").inc()
        gateway_metrics.ADDRESS_CHANGES.labels(gateway_id.hex(), "refused").inc()
        key = (gateway_id, frontend, former, address)
        if key in self._refused or len(self._refused) < MAX_REFUSED_ADDRESSES:
            self._refused[key] = self._refused.get(key, 0) + 1

    async def run(self) -> None:
        """Save every 5 s until cancelled; what could not be saved is merged into the next."""
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            await self.save()

    async def save(self) -> None:
        """Write what was seen since the last save."""
        known, self._known = self._known, {}
        unknown, self._unknown = self._unknown, {}
        refused, self._refused = self._refused, {}
        try:
            if self._proved or self._used_tokens:  # One may be of a gateway that was saved a moment ago.
                used, proved = set(self._used_tokens), set(self._proved)
                await save_uses(self._pool, sorted(used), sorted(proved))
                self._used_tokens -= used
                self._proved -= proved
            if self._proved_by_account:
                by_account = set(self._proved_by_account)
                await save_proved_accounts(self._pool, sorted(by_account))
                self._proved_by_account -= by_account
            if refused:
                await self._save_rejected(refused)
                refused = {}
            if known:
                await self._save_known(known)
            if unknown:
                await save_unknown_gateways(self._pool, _rows(unknown))
        except asyncio.CancelledError:  # The bridge ends, and saves once more.
            self._take_back(known, unknown, refused)
            raise
        except (
            ForeignKeyViolationError,
            *DATABASE_AWAY,
        ) as away:  # One that is being removed is passed over next time.
            log.warning("gateways_not_saved", error=describe(away))
            self._take_back(known, unknown, refused)

    def _take_back(
        self,
        known: dict[bytes, _Sight],
        unknown: dict[bytes, _Sight],
        rejected: dict[tuple[bytes, str, str, str], int],
    ) -> None:
        """Keep what could not be saved for the next save."""
        self._known = known | self._known
        self._unknown = unknown | self._unknown
        for key, times in rejected.items():
            self._refused[key] = self._refused.get(key, 0) + times

    async def _save_rejected(self, rejected: dict[tuple[bytes, str, str, str], int]) -> None:
        at = datetime.now(UTC)
        changes = [AddressSeen(*key, refused=True, times=times, at=at) for key, times in rejected.items()]
        async with self._pool.acquire() as connection, connection.transaction():
            await save_address_changes(connection, changes)
            await request_address_alerts(connection, changes)
        for change in changes:
            _warn("gateway_address_refused", change)

    async def _save_known(self, known: dict[bytes, _Sight]) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            moved = await save_gateway_states(connection, _rows(known))
            if moved:
                await request_address_alerts(connection, moved)
        for change in moved:
            ADDRESS_CHANGES.labels("accepted").inc()
            gateway_metrics.ADDRESS_CHANGES.labels(change.gateway_id.hex(), "accepted").inc()
            _warn("gateway_address_changed", change)


def _warn(event: str, change: AddressSeen) -> None:
    """Log a change of address: Semtech UDP proves no sender, so the gateway's operator must see it."""
    log.warning(
        event, gw_eui=change.gateway_id.hex(), former=change.former, now=change.address, times=change.times
    )


def _rows(seen: dict[bytes, _Sight]) -> list[GatewaySeen]:
    return [
        GatewaySeen(
            gateway_id, sight.frontend, sight.address, datetime.fromtimestamp(sight.seen_at, UTC), sight.stats
        )
        for gateway_id, sight in seen.items()
    ]
