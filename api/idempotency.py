"""A POST with an Idempotency-Key acts once: the same request again, within a day, gets the same answer.

The key is reserved before the route runs. The route's own transaction marks it as committed (`Caller.changing`):
what a process did before it was killed is never done again (decision 56).
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING

import structlog
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.held_answer import HeldAnswer
from core.runtime.errors import describe
from core.runtime.http.errors import Problem, database_away, render
from core.runtime.postgres import DATABASE_AWAY, Connection
from lorawan.crypto import WrongKek
from registry.entering import NotAdmitted, Proof, tenant_transaction
from registry.idempotency import (
    ABANDONED,
    Former,
    Reservation,
    answer_owner,
    mark_committed,
    release,
    reserve,
    save_answer,
)

if TYPE_CHECKING:
    from api.dependencies import Dependencies
    from registry.tenants import Principal

HEADER = "idempotency-key"
REPLAYED = (b"idempotency-replayed", b"true")
KEY = re.compile(r"[\x21-\x7e]{1,200}")
PREFIX = "/v1/"
# Answers that say nothing about the request itself: the same one later may well be accepted.
NOT_KEPT = frozenset({401, 403, 408, 429})
FIRST_OF_ERRORS = 500
DESCRIPTION = (
    "Nomme la requête (1 à 200 caractères visibles) : la même, répétée sous ce nom dans les 24 heures par le même "
    "titulaire, n'agit pas une seconde fois et reçoit la même réponse, avec « Idempotency-Replayed: true »."
)

log = structlog.get_logger()
_reservation: ContextVar[Reservation | None] = ContextVar("idempotency_reservation", default=None)


async def commit_once(connection: Connection) -> None:
    """Mark this request's key as committed, in the transaction of what it does.

    Raises:
        Problem: 409, it took so long that the same request was begun anew.
    """
    reservation = _reservation.get()
    if reservation is not None and not await mark_committed(connection, reservation):
        raise Problem(409, "la même requête a été reprise entre-temps : celle-ci ne change rien")


class IdempotencyMiddleware:
    """Wraps the routes; the one place that knows the header."""

    def __init__(self, app: ASGIApp, principal_of: "Callable[[Request], Awaitable[Principal | None]]") -> None:
        self._app = app
        self._principal_of = principal_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(PREFIX):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        key = headers.get(HEADER)
        if key is None:
            await self._app(scope, receive, send)
            return
        if not KEY.fullmatch(key):
            await render(422, "Idempotency-Key : de 1 à 200 caractères ASCII visibles")(scope, receive, send)
            return
        try:
            principal = await self._principal_of(Request(scope))
            if principal is None:  # The route says why it is rejected.
                await self._app(scope, receive, send)
                return
            await self._once(scope, receive, send, principal, key)
        except NotAdmitted:  # Withdrawn since it was read: the next look at it says so.
            await render(401, "cette clé ou cette session ne vaut plus")(scope, receive, send)
        except HTTPException as refused:  # The body was too large, or too slow.
            await render(refused.status_code, refused.detail)(scope, receive, send)
        except DATABASE_AWAY as away:
            log.warning("idempotency_database_away", error=describe(away))
            await database_away()(scope, receive, send)

    async def _once(self, scope: Scope, receive: Receive, send: Send, principal: "Principal", key: str) -> None:
        dependencies: Dependencies = scope["app"].state.platform
        body = await _read(receive)
        if body is None:
            return
        name, digest = _name_of(principal), hashlib.sha256(key.encode()).digest()
        asked = hashlib.sha256(
            b"\0".join((scope["path"].encode(), scope["query_string"], hashlib.sha256(body).digest()))
        ).digest()
        async with tenant_transaction(dependencies.pool, principal.proof) as connection:
            found = await reserve(connection, principal.tenant_id, name, digest, asked)
        if found is None:
            await _too_many()(scope, receive, send)
        elif isinstance(found, Former):
            await _answer_again(scope, receive, send, found, asked, name, digest)
        else:
            await self._run(scope, body, send, principal.proof, found)

    async def _run(self, scope: Scope, body: bytes, send: Send, proof: Proof, reservation: Reservation) -> None:
        dependencies: Dependencies = scope["app"].state.platform
        answer = HeldAnswer()
        token = _reservation.set(reservation)
        try:
            await self._app(scope, _replayed(body), answer.send)
        except BaseException:
            await self._forget(dependencies, proof, reservation)
            raise
        finally:
            _reservation.reset(token)
        try:
            async with tenant_transaction(dependencies.pool, proof) as connection:
                if answer.status in NOT_KEPT or answer.status >= FIRST_OF_ERRORS:
                    await release(connection, reservation)
                else:
                    kept = answer.status, answer.media_type, bytes(answer.body)
                    await save_answer(connection, dependencies.keys, reservation, *kept)
        except NotAdmitted:  # The request has ended the proof by which it came: it cannot come again.
            log.info("idempotency_answer_not_kept", error="proof ended")
        except DATABASE_AWAY as away:  # What was asked for is done, or not: that is what the answer says.
            log.warning("idempotency_answer_not_kept", error=describe(away))
        for message in answer.messages:
            await send(message)

    async def _forget(self, dependencies: "Dependencies", proof: Proof, reservation: Reservation) -> None:
        try:
            async with tenant_transaction(dependencies.pool, proof) as connection:
                await release(connection, reservation)
        except NotAdmitted:  # So it is here.
            log.info("idempotency_key_not_released", error="proof ended")
        except DATABASE_AWAY as away:  # It is abandoned after a minute.
            log.warning("idempotency_key_not_released", error=describe(away))


def _name_of(principal: "Principal") -> str:
    if principal.person_id is None:
        return f"api_key/{principal.key_id}"
    return f"person/{principal.person_id}"


async def _answer_again(
    scope: Scope, receive: Receive, send: Send, former: Former, asked: bytes, principal: str, digest: bytes
) -> None:
    if former.request_digest != asked:
        await render(422, "cette Idempotency-Key a déjà servi à une autre requête : tirez-en une neuve")(
            scope, receive, send
        )
        return
    if former.status is None and not former.is_committed:
        text = (
            "la première requête sous cette Idempotency-Key est en cours ; si elle s'interrompt, elle se reprend "
            f"après {ABANDONED.total_seconds():.0f} s"
        )
        await render(409, text, headers={"Retry-After": "1"})(scope, receive, send)
        return
    body = _opened(scope, former, principal, digest)
    if former.status is None or body is None:
        await render(409, "cette requête a été exécutée ; sa réponse n'est plus disponible")(scope, receive, send)
        return
    headers = [REPLAYED, (b"content-length", str(len(body)).encode())]
    if former.media_type is not None:
        headers.append((b"content-type", former.media_type.encode()))
    await send({"type": "http.response.start", "status": former.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _opened(scope: Scope, former: Former, principal: str, digest: bytes) -> bytes | None:
    dependencies: Dependencies = scope["app"].state.platform
    if former.answer_wrapped is None:
        return None
    try:
        return dependencies.keys.unwrap_octets(former.answer_wrapped, answer_owner(principal, digest))
    except WrongKek:
        return None


def _too_many() -> ASGIApp:
    return render(
        429, "trop d'Idempotency-Key en 24 heures : 10 000 au plus par titulaire", headers={"Retry-After": "3600"}
    )


async def _read(receive: Receive) -> bytes | None:
    """The whole body; None: whoever asks has gone, and what came of it is no request."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


def _replayed(body: bytes) -> Receive:
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            return {"type": "http.disconnect"}
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
