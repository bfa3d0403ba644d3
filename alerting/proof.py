"""Proves that an address wants what a tenant is notified of, before it gets anything else (decision 64).

A receiver of webhooks answers a challenge: one that is signed as every message is, or the handshake of
CloudEvents (HTTP 1.1 Web Hooks 1.0.2, section 4). Behind a mailbox or a chat a person reads a code, and enters it.
Challenge and code go by the queue of all messages, so that their attempts are seen and repeated like any other's.
"""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from hashlib import sha256

import msgspec

from alerting.message_formats import CLOUDEVENTS, STANDARD
from alerting.queue import WebhookMessage
from core.messages.versions import encode_message
from core.runtime.postgres import Connection, Pool

# Of a message that proves; others have `msg_`.
ID_PREFIX = "proof_"
CHALLENGE, CODE = "webhook.challenge", "webhook.code"
LASTS = timedelta(hours=24)
CHALLENGE_OCTETS = 24
CODE_DIGITS = 8
ANY_ORIGIN = "*"
BEGIN = "SELECT begin_endpoint_proof($1, $2, $3, $4)"
ENTER_CODE = "SELECT enter_endpoint_code($1, $2)"
TAKE_PROBE = "SELECT take_webhook_probe($1)"
ACCEPT = """
UPDATE webhook_endpoint SET state = 'enabled', proved_at = now(), recovered_at = clock_timestamp(), gone_at = NULL,
       proof_digest = NULL
WHERE id = $1 AND state = 'unproved' AND ($2::bytea IS NULL OR proof_digest = $2)
RETURNING true
"""
TO_READ = (
    "Code de confirmation de Territoire : {code}. Il prouve que cette adresse veut recevoir les alertes ; à "
    "saisir dans Territoire sous 24 heures (POST /v1/webhook-endpoints/{endpoint}/proof). Si vous n'attendez "
    "rien, ne faites rien : cette adresse ne recevra rien d'autre."
)
TO_ANSWER = 'Répondez 200 avec le JSON {"challenge": …} de ce message : cette adresse recevra alors les alertes.'


class Entered(StrEnum):
    """What came of a code; `OVER`: it is too late, or it was wrong too often."""

    PROVED = "proved"
    WRONG = "wrong"
    OVER = "over"


def answers_by_itself(form: str) -> bool:
    """Whether software is behind an address of this form, which answers a challenge; otherwise a person."""
    return form in (STANDARD, CLOUDEVENTS)


def digest_of(secret: str) -> bytes:
    """What the database keeps of a challenge or a code."""
    return sha256(secret.encode()).digest()


def is_proof(message: WebhookMessage) -> bool:
    """Whether this message is a challenge or a code."""
    return message.message_id.startswith(ID_PREFIX)


class _Data(msgspec.Struct):
    challenge: str = ""
    code: str = ""


class _Body(msgspec.Struct):
    data: _Data


def secret_in(body: bytes) -> str:
    """The challenge or the code that a message of ours carries."""
    data = msgspec.json.decode(body, type=_Body).data
    return data.challenge or data.code


def is_answered(text: str, challenge: str) -> bool:
    """Whether an answer returns the challenge: `{"challenge": ...}`, or the challenge alone."""
    try:
        answered = msgspec.json.decode(text, type=_Data).challenge
    except msgspec.MsgspecError:
        answered = text.strip()
    return secrets.compare_digest(answered.encode(), challenge.encode())


def is_allowed(headers: Mapping[str, str], origin: str) -> bool:
    """Whether an answer to OPTIONS lets this origin send; its status says nothing (section 4.2)."""
    allowed = headers.get("webhook-allowed-origin", "").strip()
    return allowed == ANY_ORIGIN or allowed.lower() == origin.lower()


async def wait_s(connection: Connection, endpoint_id: int) -> float:
    """How long until something may be sent at will, a test or a challenge; 0: now, and this one is counted."""
    return await connection.fetchval(TAKE_PROBE, endpoint_id)


async def begin(connection: Connection, endpoint_id: int, form: str) -> str | None:
    """Send a new challenge, or a new code; the message's id, or None when there is nothing to prove."""
    data: dict[str, str] = {}
    if answers_by_itself(form):
        secret, event = secrets.token_urlsafe(CHALLENGE_OCTETS), CHALLENGE
        data = {"challenge": secret, "message": TO_ANSWER}
    else:
        secret, event = f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}", CODE
        shown = f"{secret[:4]} {secret[4:]}"
        data = {"code": secret, "message": TO_READ.format(code=shown, endpoint=endpoint_id)}
    body = msgspec.json.encode({"type": event, "timestamp": datetime.now(UTC), "data": data})
    message = WebhookMessage(f"{ID_PREFIX}{secrets.token_hex(16)}", endpoint_id, 0, body)
    begun = await connection.fetchval(BEGIN, endpoint_id, digest_of(secret), LASTS, encode_message(message))
    return message.message_id if begun else None


async def enter_code(connection: Connection, endpoint_id: int, code: str) -> Entered | None:
    """Prove by a code that a person read; None: there is nothing to prove. Five wrong ones end a code."""
    entered = await connection.fetchval(ENTER_CODE, endpoint_id, digest_of(code))
    return None if entered is None else Entered(entered)


async def accept(connection: Connection | Pool, endpoint_id: int, digest: bytes | None = None) -> bool:
    """Put an unproved endpoint into service: its last challenge, of this digest, was answered.

    Without a digest whichever was sent: for those who know by themselves, as tests and benchmarks do.
    """
    return await connection.fetchval(ACCEPT, endpoint_id, digest) is True
