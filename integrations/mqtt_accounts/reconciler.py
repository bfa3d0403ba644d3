"""Brings the broker's accounts to what the registry says: at each change, and again when the broker forgot."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from functools import partial
from urllib.parse import urlsplit

import structlog

from core.runtime.errors import describe
from core.runtime.lease import Lease
from core.runtime.mqtt import REFUSALS, Broker, MqttSession, MqttSettings
from core.runtime.postgres import DATABASE_AWAY, Pool
from integrations.lease_runner import LeasedWork, LeaseRunner
from integrations.lns.telemetry import ACCOUNT_BROKER_CONNECTED, ACCOUNT_CHANGES, ACCOUNT_FAILURES
from integrations.mqtt_accounts.broker import Account, AccountBroker, BrokerAway, BrokerRejected
from integrations.mqtt_accounts.dynamic_security import ANSWERS, DynamicSecurity
from integrations.mqtt_accounts.emqx import Emqx, open_client
from integrations.mqtt_accounts.wanted import Permissions, changes, permissions_of
from lorawan.crypto import WrongKek
from registry.changes import Change
from registry.keys import KeyWrap
from registry.mqtt_accounts import ValidAccount, read_valid_accounts, save_applied

# A change is live sooner: the registry's nudge wakes the reconciler.
READ_EVERY_S = 4.0
# How long a broker that forgot its accounts, without a connection having ended, refuses gateways.
COMPARED_EVERY_S = 30.0
CLIENT_ID = "territoire-accounts"
ONLY = 0

log = structlog.get_logger()


class Reconciler:
    """Reads what the broker has to have and what it has, and changes what differs."""

    def __init__(self, pool: Pool, keys: KeyWrap, broker: AccountBroker) -> None:
        self._pool = pool
        self._keys = keys
        self._broker = broker
        self._known: Mapping[str, Permissions] | None = None
        """What the broker had after the last comparison; None: compare."""
        self._compared_at = 0.0
        self._woken = asyncio.Event()

    def nudge(self) -> None:
        """Something changed in the registry."""
        self._woken.set()

    def forget(self) -> None:
        """The broker may have restarted: compare anew."""
        self._known = None
        self._woken.set()

    async def run(self) -> None:
        """Reconcile until cancelled; a failure is counted and tried again."""
        while True:
            self._woken.clear()
            try:
                await self.reconcile()
            except DATABASE_AWAY as away:
                log.warning("mqtt_accounts_not_read", error=describe(away))
            except BrokerAway as away:
                self._record_failure("away", away)
            except BrokerRejected as rejected:
                self._record_failure("rejected", rejected)
            try:
                async with asyncio.timeout(READ_EVERY_S):
                    await self._woken.wait()
            except TimeoutError:
                continue

    def _record_failure(self, reason: str, error: Exception) -> None:
        self._known = None
        ACCOUNT_FAILURES.labels(reason).inc()
        log.warning("mqtt_accounts_not_applied", reason=reason, message=f"comptes MQTT : {error}")

    async def reconcile(self) -> None:
        """One pass. Raises BrokerAway, BrokerRejected."""
        accounts = {account.username: account for account in await read_valid_accounts(self._pool)}
        wanted = {name: permissions_of(account) for name, account in accounts.items()}
        now = asyncio.get_running_loop().time()
        if wanted == self._known and now - self._compared_at < COMPARED_EVERY_S:
            return
        needed = changes(wanted, await self._broker.read())
        if needed.remove:
            await self._broker.remove(needed.remove)
            ACCOUNT_CHANGES.labels("removed").inc(len(needed.remove))
        made = self._openable([accounts[name] for name in needed.create])
        if made:
            await self._broker.create(made)
            ACCOUNT_CHANGES.labels("created").inc(len(made))
        unopened = set(needed.create) - {account.username for account in made}
        self._known, self._compared_at = wanted, now
        fresh = [one.id for name, one in accounts.items() if not one.is_applied and name not in unopened]
        if fresh:
            await save_applied(self._pool, fresh)
        if needed:
            log.info("mqtt_accounts_applied", created=len(made), removed=len(needed.remove))

    def _openable(self, accounts: list[ValidAccount]) -> list[Account]:
        """Those whose password opens; another stays unmade, and keeps no other waiting."""
        opened: list[Account] = []
        for account in accounts:
            try:
                password = account.password(self._keys)
            except WrongKek as wrong:
                ACCOUNT_FAILURES.labels("wrong_kek").inc()
                log.warning("mqtt_account_not_opened", account=account.username, error=str(wrong))
                continue
            opened.append(Account(account.username, password, permissions_of(account)))
        return opened


class AccountRunner(LeaseRunner[str]):
    """Lets one replica at a time bring the broker's accounts up to date. `apply` is for a `RegistryWatcher`."""

    def __init__(self, pool: Pool, keys: KeyWrap, url: str, instance: str) -> None:
        super().__init__(pool, "intake", instance, "mqtt_accounts", asyncio.Event(), ACCOUNT_BROKER_CONNECTED)
        self._keys = keys
        self._url = url

    def apply(self, changed: list[Change]) -> None:
        """Reconcile at once when an account changed, or the name of a partner's tenant."""
        if any(change.entity in {"mqtt_account", "gateway", "tenant"} for change in changed):
            self.nudge()

    def wanted(self) -> Mapping[int, str]:
        """There is one broker."""
        return {ONLY: self._url}

    def open_work(self, item: str, lease: Lease) -> LeasedWork:  # noqa: ARG002 - It writes nothing that is fenced.
        """Its connection, as the account that may make others, and the reconciler."""
        if urlsplit(item).scheme in {"http", "https"}:
            return self._open_http(item)
        settings = MqttSettings(mqtt_client_id=CLIENT_ID, mqtt_session_expiry=0)
        mqtt_session = MqttSession(settings, [ANSWERS], broker=Broker.from_url(item, is_ours=True))
        reconciler = Reconciler(self._pool, self._keys, DynamicSecurity(mqtt_session))

        async def connect() -> None:
            await mqtt_session.run(reconciler.forget)

        async def reconcile() -> None:
            await mqtt_session.connected()
            await reconciler.run()

        return LeasedWork({"connect": connect, "reconcile": reconcile}, mqtt_session, reconciler.nudge)

    def _open_http(self, url: str) -> LeasedWork:
        emqx = Emqx(open_client(url), partial(open_client, url))
        reconciler = Reconciler(self._pool, self._keys, emqx)

        async def reconcile() -> None:
            async with aclosing(emqx):
                await reconciler.run()

        return LeasedWork({"reconcile": reconcile}, None, reconciler.nudge)

    def report_error(self, item: str, french: str) -> None:  # noqa: ARG002 - There is one.
        """Count it; the session itself says every half minute what it waits for."""
        is_refused = any(french.endswith(reason) for reason in REFUSALS.values())
        ACCOUNT_FAILURES.labels("refused" if is_refused else "away").inc()
