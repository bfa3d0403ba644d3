"""Clients of other LNS: their broker or their HTTP API."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import httpx

from core.model.downlinks import DownlinkReason
from core.runtime.http.guarded_client import AllowList, ForbiddenDestination, GuardedTransport
from core.runtime.mqtt import MqttAway, MqttRejected, MqttSession
from core.runtime.tls import client_tls
from integrations.lns.adapters import chirpstack, live_objects, the_things_stack, thingpark, wanesy
from integrations.lns.lns_downlink import (
    NAMES,
    Answered,
    Call,
    Handed,
    Later,
    LnsDownlink,
    Outcome,
    Publication,
    Rejected,
    outcome_of,
)
from integrations.lns.lns_uplink import DownlinkReport
from registry.lns_sources import Source

CALL_WITHIN_S = 10.0
ANSWER_READ_MOST = 64 << 10
UNAUTHORISED = 401
LONGEST_ITEM = 200
NOT_HEARD_YET = Later(
    DownlinkReason.LNS_DEVICE_UNHEARD, "en attente d'un premier message du capteur par cette source"
)
# These address a device by names of their own, which only its uplinks contain.
NEED_ADDRESS = frozenset({chirpstack.NAME, the_things_stack.NAME})
OVER_MQTT: dict[str, Callable[[LnsDownlink], Publication]] = {
    chirpstack.NAME: chirpstack.command,
    the_things_stack.NAME: the_things_stack.push,
}
OVER_HTTP = frozenset({the_things_stack.NAME, thingpark.NAME, live_objects.NAME, wanesy.NAME})
# Their ids are of 64 bits.
SHORT_ITEMS = frozenset({thingpark.NAME})
# They do not report on downlinks: the status is polled.
ASKED = frozenset({live_objects.NAME})


class LnsClient(Protocol):
    """How to send downlinks to one source's LNS."""

    async def hand_over(self, downlink: LnsDownlink) -> Outcome:
        """Ask their LNS to send the downlink."""
        ...

    async def ask(self, item: str, *, confirmed: bool) -> DownlinkReport | None:
        """What became of an item, for an LNS that does not report it; None while nothing is decided."""
        ...


@dataclass(frozen=True, slots=True)
class NoLnsClient:
    """A source that takes no downlinks; `reason` says why."""

    reason: DownlinkReason

    async def hand_over(self, downlink: LnsDownlink) -> Outcome:
        """Reject it."""
        del downlink
        return Rejected(self.reason)

    async def ask(self, item: str, *, confirmed: bool) -> DownlinkReport | None:
        """None: nothing is ever under way."""
        del item, confirmed


@dataclass(frozen=True, slots=True)
class MqttLnsClient:
    """Publishes to their broker, over the connection that brings the uplinks."""

    kind: str
    mqtt_session: MqttSession

    async def hand_over(self, downlink: LnsDownlink) -> Outcome:
        """Publish. Handed means that their broker has it, and, with MQTT 5, that their LNS was subscribed."""
        if not downlink.address:
            return NOT_HEARD_YET
        message = OVER_MQTT[self.kind](downlink)
        try:
            is_listened_to = await self.mqtt_session.publish(message.topic, message.body)
        except MqttRejected:
            french = f"le courtier de {NAMES[self.kind]} refuse de publier : droits du compte à vérifier"
            return Later(DownlinkReason.LNS_PUBLISH_REFUSED, french)
        except MqttAway:
            return Later(DownlinkReason.LNS_UNREACHABLE, f"courtier de {NAMES[self.kind]} injoignable")
        if is_listened_to:
            return Handed(downlink.item)
        return Later(DownlinkReason.LNS_NOT_LISTENING, f"{NAMES[self.kind]} n'écoute pas son courtier")

    async def ask(self, item: str, *, confirmed: bool) -> DownlinkReport | None:
        """None: their events report the outcome."""
        del item, confirmed


class HttpLnsClient:
    """Calls their HTTP API, past the guard of outgoing addresses."""

    def __init__(self, source: Source, secret: str, allowed: Callable[[], Awaitable[list[str]]]) -> None:
        self._kind = source.kind
        self._base = (source.downlink_url or live_objects.API).rstrip("/")
        self._user = source.downlink_user or ""
        self._secret = secret
        self._allowed = allowed
        self._tls = client_tls()
        self._token = ""  # Of Wanesy, until it is rejected.

    async def hand_over(self, downlink: LnsDownlink) -> Outcome:
        """One call; none is repeated here, since some LNS would queue it twice."""
        if not downlink.address and self._kind in NEED_ADDRESS:
            return NOT_HEARD_YET
        try:
            answer = await self._call(downlink, datetime.now(UTC))
        except _NotAnswered as failed:
            return failed.outcome
        outcome = outcome_of(self._kind, answer, downlink.item)
        if not isinstance(outcome, Handed):
            return outcome
        match self._kind:
            case live_objects.NAME:
                item = live_objects.item_of(answer)
            case wanesy.NAME:
                item = wanesy.item_of(answer)
            case _:
                return outcome
        # Without an id of theirs no report can be matched to it, and the row says so in the end.
        return Handed(item) if item and len(item) <= LONGEST_ITEM and item.isprintable() else outcome

    async def _call(self, downlink: LnsDownlink, now: datetime) -> Answered:
        match self._kind:
            case the_things_stack.NAME:
                return await self._fetch(the_things_stack.push_call(downlink, self._base, self._secret))
            case thingpark.NAME:
                call = thingpark.downlink_call(downlink, self._base, self._user, self._secret, now)
                return await self._fetch(call)
            case live_objects.NAME:
                return await self._fetch(live_objects.command_call(downlink, self._base, self._secret, now))
            case _:
                return await self._call_wanesy(downlink, now)

    async def _call_wanesy(self, downlink: LnsDownlink, now: datetime) -> Answered:
        """Call with the token of the last login; once more after a new login when that has expired."""
        for is_new in (not self._token, True):
            if is_new:
                login = await self._fetch(wanesy.login_call(self._base, self._user, self._secret))
                self._token = wanesy.token_of(login)
                if not self._token:
                    return login if login.status >= 300 else Answered(UNAUTHORISED, {}, login.body)  # noqa: PLR2004
            answer = await self._fetch(wanesy.downlink_call(downlink, self._base, self._token, now))
            if answer.status != UNAUTHORISED or is_new:
                return answer
        raise AssertionError("the second turn returns")

    async def ask(self, item: str, *, confirmed: bool) -> DownlinkReport | None:
        """Poll the state of a command, for an LNS of `ASKED`."""
        if self._kind not in ASKED:
            return None
        try:
            answer = await self._fetch(live_objects.status_call(item, self._base, self._secret))
        except _NotAnswered:
            return None
        return live_objects.report_of(answer, item, confirmed=confirmed)

    async def _fetch(self, call: Call) -> Answered:
        """Their answer, whatever its status.

        Raises:
            _NotAnswered: there was no answer, or the address is not allowed.
        """
        name = NAMES[self._kind]
        transport = GuardedTransport(self._tls, AllowList.parse(await self._allowed()))
        try:
            async with (
                asyncio.timeout(CALL_WITHIN_S),
                httpx.AsyncClient(
                    transport=transport, trust_env=False, follow_redirects=False, timeout=CALL_WITHIN_S
                ) as client,
                client.stream(call.method, call.url, content=call.body, headers=call.headers) as response,
            ):
                body = b""
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) >= ANSWER_READ_MOST:
                        break
                return Answered(response.status_code, dict(response.headers), body)
        except ForbiddenDestination as refused:
            raise _NotAnswered(Later(DownlinkReason.LNS_ADDRESS_REFUSED, str(refused), str(refused))) from None
        except TimeoutError:
            french = f"{name} ne répond pas en {CALL_WITHIN_S:.0f} s"
            raise _NotAnswered(Later(DownlinkReason.LNS_UNREACHABLE, french)) from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as failed:
            french = f"{name} injoignable ({type(failed).__name__})"
            raise _NotAnswered(Later(DownlinkReason.LNS_UNREACHABLE, french, type(failed).__name__)) from None


class _NotAnswered(Exception):
    """A call that got no answer, and the outcome for the row."""

    def __init__(self, outcome: Later) -> None:
        super().__init__(outcome.french)
        self.outcome = outcome


def lns_client_of(
    source: Source,
    secret: str | None,
    mqtt_session: MqttSession | None,
    allowed: Callable[[], Awaitable[list[str]]],
) -> LnsClient:
    """The client for this source's LNS, by its settings."""
    if mqtt_session is not None and source.kind in OVER_MQTT:
        return MqttLnsClient(source.kind, mqtt_session)
    if source.kind not in OVER_HTTP:
        if source.kind == chirpstack.NAME:
            return NoLnsClient(DownlinkReason.SOURCE_NEEDS_MQTT)
        return NoLnsClient(DownlinkReason.SOURCE_TAKES_NO_DOWNLINKS)
    has_address = source.downlink_url is not None or source.kind == live_objects.NAME
    if not has_address or secret is None:
        return NoLnsClient(DownlinkReason.SOURCE_INCOMPLETE)
    return HttpLnsClient(source, secret, allowed)
