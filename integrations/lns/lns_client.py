"""Clients of other LNS: their broker or their HTTP API."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import httpx

from core.runtime.http.guarded_client import AllowList, GuardedTransport, RefusedDestination
from core.runtime.mqtt import MqttAway, MqttEdge, MqttRefused
from integrations.lns.adapters import chirpstack, live_objects, the_things_stack, thingpark, wanesy
from integrations.lns.lns_downlink import (
    NAMES,
    Answered,
    Call,
    Handed,
    Later,
    Order,
    Outcome,
    Publication,
    Refused,
    outcome_of,
)
from integrations.lns.lns_uplink import DownlinkReport
from registry.lns_sources import Source

CALL_WITHIN_S = 10.0
ANSWER_READ_MOST = 64 << 10
UNAUTHORISED = 401
LONGEST_ITEM = 200
NOT_HEARD_YET = "en attente d'un premier message du capteur par cette source"
# These call a device by names of their own, which its uplinks tell.
NEED_ADDRESS = frozenset({chirpstack.NAME, the_things_stack.NAME})
OVER_MQTT: dict[str, Callable[[Order], Publication]] = {
    chirpstack.NAME: chirpstack.command,
    the_things_stack.NAME: the_things_stack.push,
}
OVER_HTTP = frozenset({the_things_stack.NAME, thingpark.NAME, live_objects.NAME, wanesy.NAME})
# Their ids are of 64 bits.
SHORT_ITEMS = frozenset({thingpark.NAME})
# They tell nothing by themselves.
ASKED = frozenset({live_objects.NAME})


class Carrier(Protocol):
    """A way to one source's LNS."""

    async def hand_over(self, order: Order) -> Outcome:
        """Ask them to send it."""
        ...

    async def ask(self, item: str, *, confirmed: bool) -> DownlinkReport | None:
        """What became of an item, where they do not tell by themselves; None while nothing is decided."""
        ...


@dataclass(frozen=True, slots=True)
class NoCarrier:
    """A source that takes no downlinks, and why, in French."""

    french: str

    async def hand_over(self, order: Order) -> Outcome:
        """Refuse."""
        del order
        return Refused(self.french)

    async def ask(self, item: str, *, confirmed: bool) -> DownlinkReport | None:
        """Nothing is ever under way."""
        del item, confirmed


@dataclass(frozen=True, slots=True)
class MqttCarrier:
    """Publishes to their broker, over the connection that brings the uplinks."""

    kind: str
    edge: MqttEdge

    async def hand_over(self, order: Order) -> Outcome:
        """Publish; their broker has it when this is Handed, and their LNS was listening as far as MQTT 5 tells."""
        if not order.address:
            return Later(NOT_HEARD_YET)
        message = OVER_MQTT[self.kind](order)
        try:
            is_listened_to = await self.edge.publish(message.topic, message.body)
        except MqttRefused:
            return Later(f"le courtier de {NAMES[self.kind]} refuse de publier : droits du compte à vérifier")
        except MqttAway:
            return Later(f"courtier de {NAMES[self.kind]} injoignable")
        return Handed(order.item) if is_listened_to else Later(f"{NAMES[self.kind]} n'écoute pas son courtier")

    async def ask(self, item: str, *, confirmed: bool) -> DownlinkReport | None:
        """Their events tell."""
        del item, confirmed


class HttpCarrier:
    """Calls their HTTP API, past the guard of outgoing addresses."""

    def __init__(self, source: Source, secret: str, allowed: Callable[[], Awaitable[list[str]]]) -> None:
        self._kind = source.kind
        self._base = (source.downlink_url or live_objects.API).rstrip("/")
        self._user = source.downlink_user or ""
        self._secret = secret
        self._allowed = allowed
        self._tls = ssl.create_default_context()
        self._token = ""  # Of Wanesy, until it is refused.

    async def hand_over(self, order: Order) -> Outcome:
        """One call; none is repeated here, since some LNS would queue it twice."""
        if not order.address and self._kind in NEED_ADDRESS:
            return Later(NOT_HEARD_YET)
        try:
            answer = await self._call(order, datetime.now(UTC))
        except _NotAnswered as failed:
            return Later(str(failed))
        outcome = outcome_of(self._kind, answer, order.item)
        if not isinstance(outcome, Handed):
            return outcome
        match self._kind:
            case live_objects.NAME:
                item = live_objects.item_of(answer)
            case wanesy.NAME:
                item = wanesy.item_of(answer)
            case _:
                return outcome
        # Without a name of theirs nothing will be heard of it, and the row says so in the end.
        return Handed(item) if item and len(item) <= LONGEST_ITEM and item.isprintable() else outcome

    async def _call(self, order: Order, now: datetime) -> Answered:
        match self._kind:
            case the_things_stack.NAME:
                return await self._fetch(the_things_stack.push_call(order, self._base, self._secret))
            case thingpark.NAME:
                call = thingpark.downlink_call(order, self._base, self._user, self._secret, now)
                return await self._fetch(call)
            case live_objects.NAME:
                return await self._fetch(live_objects.command_call(order, self._base, self._secret, now))
            case _:
                return await self._call_wanesy(order, now)

    async def _call_wanesy(self, order: Order, now: datetime) -> Answered:
        """With the token of the last login; once more after a new one when it is over."""
        for is_new in (not self._token, True):
            if is_new:
                login = await self._fetch(wanesy.login_call(self._base, self._user, self._secret))
                self._token = wanesy.token_of(login)
                if not self._token:
                    return login if login.status >= 300 else Answered(UNAUTHORISED, {}, login.body)  # noqa: PLR2004
            answer = await self._fetch(wanesy.downlink_call(order, self._base, self._token, now))
            if answer.status != UNAUTHORISED or is_new:
                return answer
        raise AssertionError("the second turn returns")

    async def ask(self, item: str, *, confirmed: bool) -> DownlinkReport | None:
        """How a command stands, where it is asked for."""
        if self._kind not in ASKED:
            return None
        try:
            answer = await self._fetch(live_objects.status_call(item, self._base, self._secret))
        except _NotAnswered:
            return None
        return live_objects.report_of(answer, item, confirmed=confirmed)

    async def _fetch(self, call: Call) -> Answered:
        """Their answer, whatever it is.

        Raises:
            _NotAnswered: there was none, or none may be asked for; the message says why, in French.
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
        except RefusedDestination as refused:
            raise _NotAnswered(str(refused)) from None
        except TimeoutError:
            raise _NotAnswered(f"{name} ne répond pas en {CALL_WITHIN_S:.0f} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as failed:
            raise _NotAnswered(f"{name} injoignable ({type(failed).__name__})") from None


class _NotAnswered(Exception):
    """A call that got no answer."""


def carrier_of(
    source: Source, secret: str | None, edge: MqttEdge | None, allowed: Callable[[], Awaitable[list[str]]]
) -> Carrier:
    """The way to this source's LNS, as it is set up."""
    if edge is not None and source.kind in OVER_MQTT:
        return MqttCarrier(source.kind, edge)
    if source.kind not in OVER_HTTP:
        if source.kind == chirpstack.NAME:
            return NoCarrier("ChirpStack ne prend les messages que par MQTT : cette source est en HTTP")
        return NoCarrier("cette source ne transmet pas de messages aux capteurs")
    has_address = source.downlink_url is not None or source.kind == live_objects.NAME
    if not has_address or secret is None:
        return NoCarrier(f"la source n'a pas l'adresse ou la clé de l'API de {NAMES[source.kind]}")
    return HttpCarrier(source, secret, allowed)
