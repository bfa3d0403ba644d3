"""How often a person or an address may ask, and how often an address may present what opens nothing.

Counted by each replica for itself (decision 64); a limit that is None is none. What of a key is in `api.auth`.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.origin import bearer_of, origin_of
from core.runtime.http.errors import Problem, render
from core.runtime.token_bucket import TokenBucket

REMEMBERED_MOST = 10_000
# So many times the limit of one address, of all together, is a siege.
SIEGE, TRIES_IN_A_SIEGE, LOCKED_IN_A_SIEGE_S = 10, 2, 60.0
OF_ALL = ("siege", "")
# What an IPv6 host has for itself.
PREFIX_OF_A_HOST = 64


@dataclass(frozen=True, slots=True)
class Rates:
    """A minute: requests of a person, requests of an address, wrong credentials of an address."""

    of_person: int | None = None
    of_address: int | None = None
    wrong: int | None = None


class Limits:
    """Buckets of those who ask; the one that has asked for nothing for longest is forgotten first."""

    def __init__(self, rates: Rates, clock: Callable[[], float] = time.monotonic) -> None:
        self._rates = rates
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str], TokenBucket] = OrderedDict()
        # So much is guessed, from wherever, that looking it all up would keep others waiting.
        self._besieged_until = -math.inf

    def count_person(self, person_id: int) -> None:
        """Count a request of a person; raises 429 beyond the limit."""
        self._count("person", str(person_id), self._rates.of_person, "vous faites plus de {} requêtes par minute")

    def count_address(self, address: str) -> None:
        """Count a request from an address; raises 429 beyond the limit."""
        self._count(
            "address",
            host_of(address),
            self._rates.of_address,
            "cette adresse fait plus de {} requêtes par minute",
        )

    def require_unlocked(self, address: str) -> None:
        """Raises 429 while an address has presented too many wrong credentials: nothing is looked up."""
        bucket = self._wrong_of(address)
        if bucket is not None:
            _require_over((1 - bucket.tokens_at(self._clock())) / bucket.per_second)

    def require_key_unlocked(self, address: str) -> None:
        """The same of an unknown key: while many addresses guess, one with two wrong ones waits for a minute."""
        self.require_unlocked(address)
        bucket = self._wrong_of(address)
        is_besieged = self._clock() < self._besieged_until
        if is_besieged and bucket is not None and bucket.tokens <= bucket.burst - TRIES_IN_A_SIEGE:
            _require_over(bucket.counted_at + LOCKED_IN_A_SIEGE_S - self._clock())

    def _wrong_of(self, address: str) -> TokenBucket | None:
        return self._buckets.get(("wrong", host_of(address)))

    def count_wrong(self, address: str) -> None:
        """Count a key, a session or a token that opened nothing."""
        if self._rates.wrong is not None:
            self._spend("wrong", host_of(address), self._rates.wrong)
            if self._spend(*OF_ALL, self._rates.wrong * SIEGE):
                self._besieged_until = self._clock() + LOCKED_IN_A_SIEGE_S

    def _count(self, kind: str, name: str, limit: int | None, message: str) -> None:
        if limit is None:
            return
        bucket = self._spend(kind, name, limit)
        if bucket is not None:
            raise _too_many(message.format(limit), bucket.wait_s())

    def _spend(self, kind: str, name: str, limit: int) -> TokenBucket | None:
        """The bucket, when nothing was left in it."""
        now, key = self._clock(), (kind, name)
        bucket = self._buckets.setdefault(key, TokenBucket.full(limit / 60, limit, now))
        self._buckets.move_to_end(key)
        if len(self._buckets) > REMEMBERED_MOST:
            self._buckets.popitem(last=False)
        return None if bucket.take_token(now) else bucket


class AddressLimitMiddleware:
    """Counts each request by the address that it comes from, before anything else looks at it.

    So is a key or a token refused from an address that guesses, unless it was right of late: to find the route,
    the form of the answer and what compresses it would cost most of what an answer costs.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request, or answer 429 for it."""
        if scope["type"] == "http":
            request = Request(scope)
            platform = request.app.state.platform
            address, key = origin_of(request, platform.access.proxies), bearer_of(request)
            try:
                platform.limits.count_address(address)
                # Behind one address others may have right ones.
                if key is not None and not request.app.state.authenticator.remembers(key):
                    platform.limits.require_key_unlocked(address)
            except Problem as problem:
                await render(problem.status, problem.detail, None, problem.headers)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def host_of(address: str) -> str:
    """The address; of IPv6 its network, all of which one host has."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(IPv6Address(int(parsed) >> PREFIX_OF_A_HOST << PREFIX_OF_A_HOST))


def _require_over(left_s: float) -> None:
    if left_s > 0:
        raise _too_many("trop de clés ou de sessions fausses depuis cette adresse", left_s)


def _too_many(message: str, wait_s: float) -> Problem:
    return Problem(429, message, headers={"Retry-After": str(max(1, math.ceil(wait_s)))})
