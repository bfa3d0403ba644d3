"""The HTTP endpoint for LNS that push: POST /lns/{source}.

2xx only when the uplink is in the stream, or when nothing would be gained by sending the message again. To an LNS
that is also so for a device that is not registered and for a message of its own that cannot be used (202, with the
reason):
The Things Stack counts failures and suspends a whole webhook after some, Wanesy keeps what was not taken and sends
it again for ever, Live Objects and ThingPark go on to the next destination. What was rejected is listed beside the
source, and unreadable messages are kept in quarantine. What is no message of such an LNS at all is 422: something
is set up wrongly. Our own JSON comes from a program that can use an error: 404 and 422. What a source
pushes beyond its rate is answered 429, to be sent again.
"""

import asyncio
import base64
import binascii
import math
import time
from typing import Annotated

import msgspec
import structlog
from fastapi import FastAPI, Path, Request, Response

from core.runtime.clock import wall_clock_us
from core.runtime.http.errors import RETRY_AFTER_S, Problem, handle_errors
from core.runtime.http.middleware import OuterMiddleware
from core.runtime.token_bucket import TokenBucket
from integrations.lns.adapters import generic, thingpark
from integrations.lns.lns_uplink import LnsMessage
from integrations.lns.message_handler import Reception, Result, Taken
from integrations.lns.source_registry import Sources
from integrations.lns.telemetry import THROTTLED
from integrations.lns.uplink_publisher import TooMuchWaiting
from lorawan.crypto import WrongKek
from registry.keys import KeyWrap
from registry.lns_sources import Source

# Shorter than what LNS wait for an answer (ten seconds as a rule).
ACKNOWLEDGED_WITHIN_S = 5.0
SOURCE_ID_MOST = 2**31 - 1
# A gateway that comes back pushes what it kept, several seconds' worth at once.
BURST_S = 4
STATUSES = {
    Result.UNKNOWN_DEVICE: 404,
    Result.DISABLED: 409,
    Result.UNREADABLE: 422,
    Result.WRONG_BODY: 422,
}

SourceId = Annotated[int, Path(ge=1, le=SOURCE_ID_MOST)]

log = structlog.get_logger()


def create_app(sources: Sources, reception: Reception, keys: KeyWrap, rate: float) -> FastAPI:
    """The application; `rate` is requests a second of one source."""
    app = FastAPI(title="Territoire intake", docs_url=None, redoc_url=None, openapi_url=None)
    door = _Door(sources, reception, keys, rate)
    app.add_api_route("/lns/{source_id}", door.receive, methods=["POST"])
    app.add_api_route("/lns/{source_id}/{rest:path}", door.receive, methods=["POST"])
    handle_errors(app)
    app.add_middleware(OuterMiddleware)
    return app


class _Door:
    def __init__(self, sources: Sources, reception: Reception, keys: KeyWrap, rate: float) -> None:
        self._sources = sources
        self._reception = reception
        self._keys = keys
        self._rate = rate
        self._buckets: dict[int, TokenBucket] = {}

    async def receive(self, request: Request, source_id: SourceId, rest: str = "") -> Response:
        """Handle one message."""
        source = self._sources.over_http(source_id)
        # The body is read only after the sender has shown its token, unless the body is what is signed.
        is_signed = source is not None and _is_signed(source)
        if source is None or not (is_signed or source.opens_to(_token(request.headers.get("authorization", "")))):
            raise _closed()
        self._throttle(source)
        body = await request.body()
        if is_signed and not self._is_signed_by(source, request, body):
            raise _closed()
        event = request.query_params.get("event")  # ChirpStack's HTTP integration names the event there.
        topic = f"http/event/{event}" if event else rest
        message = LnsMessage(body, topic, dict(request.headers))
        try:
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN_S):
                taken = await self._reception.handle_message(source, message, wall_clock_us())
        except (TimeoutError, TooMuchWaiting):
            log.warning("uplink_not_safe", source=source.id)
            again = {"Retry-After": str(RETRY_AFTER_S)}
            raise Problem(503, "le bus interne ne répond pas, réessayez", headers=again) from None
        return _answer(source, taken)

    def _throttle(self, source: Source) -> None:
        now = time.monotonic()
        bucket = self._buckets.get(source.id)
        if bucket is None:
            bucket = self._buckets[source.id] = TokenBucket.full(self._rate, self._rate * BURST_S, now)
        if not bucket.take_token(now):
            THROTTLED.labels(source.kind).inc()
            again = {"Retry-After": str(math.ceil(bucket.wait_s()))}
            raise Problem(429, "trop de messages par seconde pour cette source, ralentissez", headers=again)

    def _is_signed_by(self, source: Source, request: Request, body: bytes) -> bool:
        """Whether ThingPark signed it with the AS key that we share."""
        try:
            as_key = source.secret(self._keys) or ""
        except WrongKek:
            self._reception.source_stats.error(source, "clé AS illisible : la clé de chiffrement a changé")
            return False
        return thingpark.has_valid_token(body, request.url.query, as_key)


def _is_signed(source: Source) -> bool:
    """ThingPark with an AS key signs each report; all others present a token, by Bearer or as Basic's password."""
    return source.kind == thingpark.NAME and source.secret_wrapped is not None


def _closed() -> Problem:
    # The same for a source that does not exist: which do is nobody's business.
    return Problem(401, "jeton absent ou invalide", headers={"WWW-Authenticate": "Bearer"})


def _token(authorization: str) -> str:
    scheme, _, credentials = authorization.partition(" ")
    match scheme.lower():
        case "bearer":
            return credentials.strip()
        case "basic":
            try:
                pair = base64.b64decode(credentials.strip(), validate=True).decode("utf-8", "replace")
            except (binascii.Error, ValueError):
                return ""
            return pair.partition(":")[2]
        case _:
            return ""


def _answer(source: Source, taken: Taken) -> Response:
    if taken.result in STATUSES and (source.kind == generic.NAME or taken.result is Result.WRONG_BODY):
        raise Problem(STATUSES[taken.result], taken.french)
    body = {"status": str(taken.result)} | ({"detail": taken.french} if taken.french else {})
    code = 202 if taken.result in STATUSES else 200
    return Response(msgspec.json.encode(body), code, media_type="application/json")
