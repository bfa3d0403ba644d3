"""Delivers webhooks, signed by Standard Webhooks: retries on a schedule, one row for every attempt.

Of one alert an endpoint gets the newest state: an older one that it did not take is not sent any more, and goes as
the story of the newer one.
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import httpx
import structlog
from msgspec.structs import replace
from prometheus_client import Counter, Histogram
from standardwebhooks import Webhook

from alerting.addresses import shown_url, url_owner
from alerting.mail import MAILTO, Mailer, MailRejected
from alerting.message_formats import CLOUDEVENTS, EMAIL, STANDARD, read_content, render
from alerting.notification_trace import trace_attempt, webhook_stage
from alerting.notifications import with_data
from alerting.operator_warnings import warn_of_gone_endpoint
from alerting.proof import ACCEPT, digest_of, is_allowed, is_answered, is_proof, secret_in
from alerting.queue import WebhookMessage, message_id_of
from alerting.report_files import read_attached
from alerting.retry_schedule import DEFAULT_SCHEDULE_S
from alerting.store import secret_text
from core.runtime.errors import describe, describe_defect
from core.runtime.http.guarded_client import AllowList, ForbiddenDestination, GuardedTransport
from core.runtime.postgres import DATABASE_AWAY, Pool
from core.runtime.tls import client_tls
from core.runtime.tracing import TRACES
from lorawan.crypto import WrongKek
from registry.keys import KeyWrap, row_owner

TIMEOUT_S = 10.0
MAIL_TIMEOUT_S = 30.0  # Mail servers think for longer: they look names up, and look for viruses.
MAIL_TAKEN = 250
ANSWER_READ_MOST = 64 << 10
ANSWER_READ_S = 2.0
ANSWER_KEPT = 1 << 10
USER_AGENT = "Territoire-Webhooks/1"
# Who sends, to receivers of CloudEvents, where the installation has no address of its own.
ORIGIN = "territoire"
UNANSWERED = "le défi n'a pas reçu sa réponse"
GONE = 410
GONE_REASON = "l'adresse a répondu 410 (supprimée) deux fois à un jour d'écart"
# A message of Standard Webhooks stays under 20 kB: so many earlier states.
STORY_MOST = 20
AWAY_S = 0.5  # Until the database is asked again.
# An address that answers 410 is suspended when it does so again after this long.
GONE_FOR_GOOD = timedelta(hours=24)
JITTER = 0.2
# An endpoint that gave no answer at all keeps its other messages waiting for so long, but for critical ones:
# otherwise a hundred dead endpoints with long queues would hold every place of the pool of workers.
PAUSE_S = 30.0
RETRY_AFTER_MOST = timedelta(hours=24)
# One tenant's endpoints take so many places at once: with half of them left, no other tenant waits for those.
PLACES_OF_A_TENANT = 32
CROWDED = timedelta(seconds=1)

# A message that was given up and is sent again begins a new round of the schedule, at $3. A wait ends with the
# endpoint's first success after a failure.
# Of its instants the database's clock decides: a receiver refuses what another clock has signed, and a wait that a
# wrong one began would last for as much longer.
READ_TARGET = """
SELECT clock_timestamp() AS now,
       e.tenant_id, e.url, e.url_wrapped, e.form, e.state, e.gone_at, t.webhook_allow_list,
       CASE WHEN e.state = 'unproved' AND e.proof_until > now() THEN e.proof_digest END AS proof_digest,
       $4 > 0 AND EXISTS (
           SELECT FROM alert_notice_recipient r WHERE r.alert_id = $5 AND r.endpoint_id = e.id
           AND r.sequence > $4 AND r.message_id = r.notice_id) AS is_superseded,
       coalesce((SELECT outcome <> 'delivered' FROM webhook_attempt
                 WHERE endpoint_id = e.id ORDER BY id DESC LIMIT 1), false) AS is_failing,
       CASE WHEN e.previous_until > now() THEN ARRAY[e.secret_wrapped, e.previous_secret_wrapped]
            ELSE ARRAY[e.secret_wrapped] END AS secrets_wrapped,
       e.sealed_for,
       made.attempts, made.in_round, made.next_at, made.is_delivered,
       (SELECT a.at + make_interval(secs => a.duration_ms / 1000.0) FROM (
            SELECT at, duration_ms, outcome, status, message_id FROM webhook_attempt
            WHERE endpoint_id = e.id ORDER BY id DESC LIMIT 1) AS a
        WHERE a.outcome = 'failed' AND a.status IS NULL AND a.message_id <> $2) AS unreachable_at
FROM webhook_endpoint e JOIN tenant t ON t.id = e.tenant_id
CROSS JOIN LATERAL (
    SELECT coalesce(max(a.attempt), 0) AS attempts, count(*) FILTER (WHERE a.at >= $3) AS in_round,
           max(a.next_at) FILTER (WHERE a.at >= $3 AND a.at >= coalesce(e.recovered_at, '-infinity')) AS next_at,
           coalesce(bool_or(a.outcome = 'delivered'), false) AS is_delivered
    FROM webhook_attempt a WHERE a.endpoint_id = e.id AND a.message_id = $2) AS made
WHERE e.id = $1
"""
# What it did not take of this alert before; while a message is under way no other of its endpoint is.
TAKE_STORY = """
WITH older AS (
    UPDATE alert_notice_recipient SET state = 'replaced', changed_at = now()
    WHERE alert_id = $1 AND endpoint_id = $2::int AND sequence < $3 AND state IN ('queued', 'abandoned')
      AND message_id = notice_id
    RETURNING notice_id
), dropped AS (
    DELETE FROM jobs.pgqueuer j USING older
    WHERE j.entrypoint = 'webhook/' || $2::int AND j.status IN ('queued', 'failed')
      AND j.dedupe_key = 'msg_' || replace(older.notice_id::text, '-', '') || '/' || $2::int
)
SELECT n.id, n.event, n.at, n.severity::text AS severity, n.message, n.sequence
FROM alert_notice_recipient r JOIN alert_notice n ON n.id = r.notice_id
WHERE r.alert_id = $1 AND r.endpoint_id = $2::int AND r.sequence < $3
  AND (r.state = 'replaced' OR r.notice_id IN (SELECT notice_id FROM older))
  AND r.sequence > coalesce((
      SELECT max(d.sequence) FROM alert_notice_recipient d
      WHERE d.alert_id = $1 AND d.endpoint_id = $2 AND d.sequence < $3 AND d.state = 'delivered'), 0)
ORDER BY n.sequence
"""
MARK_RECIPIENT = """
UPDATE alert_notice_recipient SET state = $3, changed_at = now()
WHERE endpoint_id = $1 AND message_id = $2 AND state = 'queued'
"""
# Everything that waits for the endpoint is due.
RELEASE = """
WITH released AS (
    UPDATE jobs.pgqueuer SET execute_after = now(), updated = now()
    WHERE entrypoint = 'webhook/' || $1::int AND status = 'queued' AND execute_after > now()
)
UPDATE webhook_endpoint SET recovered_at = clock_timestamp(), gone_at = NULL WHERE id = $1
"""
# The endpoint may have been deleted meanwhile: then there is nothing left to note.
RECORD_ATTEMPT = """
WITH recipients AS (
    UPDATE alert_notice_recipient SET state = $13::text, changed_at = now()
    WHERE endpoint_id = $2 AND message_id = $14::uuid AND $13::text IS NOT NULL
      AND (state = 'queued' OR $13::text = 'delivered' AND message_id = notice_id)
)
INSERT INTO webhook_attempt
    (tenant_id, endpoint_id, message_id, alert_id, attempt, at, outcome, status, duration_ms, answer, next_at,
     trace_id)
SELECT $1, id, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 FROM webhook_endpoint WHERE id = $2
ON CONFLICT (endpoint_id, message_id, attempt) DO NOTHING
"""
MARK_GONE = "UPDATE webhook_endpoint SET gone_at = $2 WHERE id = $1 AND gone_at IS NULL RETURNING true"
DISABLE = """
UPDATE webhook_endpoint SET state = 'disabled', disabled_reason = $2 WHERE id = $1 AND state = 'enabled'
RETURNING true
"""

DELIVERIES = Counter("territoire_alerting_webhook_deliveries_total", "Attempts at webhooks", ["result"])
DELAY = Histogram(
    "territoire_alerting_webhook_delay_seconds",
    "From the commit of a message to its first attempt",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300),
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Delivered:
    """The message is done with: delivered, or nobody wants it any more."""


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Not now; in `delay`."""

    delay: timedelta
    reason: str


@dataclass(frozen=True, slots=True)
class Abandoned:
    """Every attempt of the schedule failed, or the endpoint is suspended: people may have it sent again."""

    attempts: int
    reason: str


Delivery = Delivered | TryAgain | Abandoned


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request. Outcomes: delivered, failed, refused, gone."""

    outcome: str
    status: int | None
    text: str
    retry_after: timedelta | None = None
    is_proof: bool = False  # The challenge was answered.


def signed_headers(
    secrets: Sequence[str],
    message_id: str,
    at: datetime,
    body: bytes,
    content_type: str = "application/json",
    sequence: int = 0,
) -> dict[str, str]:
    """The headers of Standard Webhooks; during a rotation the message is signed with both secrets.

    `webhook-sequence`: of a message about one alert, also in its signed body.
    """
    text = body.decode()
    numbered = {"webhook-sequence": str(sequence)} if sequence else {}
    return numbered | {
        "content-type": content_type,
        "user-agent": USER_AGENT,
        "accept-encoding": "identity",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message_id, at, text) for secret in secrets),
    }


def retry_after_of(value: str, now: datetime) -> timedelta | None:
    """A Retry-After, in seconds or as an HTTP date (RFC 9110, 10.2.3); a day at most, None when it is neither."""
    value = value.strip()
    try:
        wait = (
            timedelta(seconds=int(value))
            if value.isascii() and value.isdigit()
            else parsedate_to_datetime(value).astimezone(UTC) - now
        )
    except (ValueError, OverflowError):
        return None if not value.isdigit() else RETRY_AFTER_MOST
    return min(max(wait, timedelta(0)), RETRY_AFTER_MOST)


def _early(next_at: datetime | None, now: datetime) -> TryAgain | None:
    """After a crash a message comes at once; its wait is kept all the same."""
    left = timedelta(0) if next_at is None else next_at - now
    return TryAgain(left, "its wait is not over") if left > timedelta(seconds=0.05) else None


class Deliverer:
    """Makes attempts; `schedule_s` are the waits after the first, second ... attempt."""

    def __init__(
        self,
        pool: Pool,
        keys: KeyWrap,
        *,
        schedule_s: Sequence[float] = DEFAULT_SCHEDULE_S,
        permit_http: bool = False,
        timeout_s: float = TIMEOUT_S,
        mailer: Mailer | None = None,
        pause_s: float = PAUSE_S,
        places_of_a_tenant: int = PLACES_OF_A_TENANT,
        origin: str = ORIGIN,
    ) -> None:
        self._pool = pool
        self._mailer = mailer
        self._timeout_s = timeout_s
        self._pause = timedelta(seconds=pause_s)
        self._keys = keys
        self._schedule_s = tuple(schedule_s)
        self._permit_http = permit_http
        self._origin = origin
        self._places_of_a_tenant = places_of_a_tenant
        self._under_way = defaultdict[int, int](int)  # Attempts, by tenant.
        self._tls = client_tls()

    @property
    def first_wait(self) -> timedelta:
        """After the first attempt."""
        return timedelta(seconds=self._schedule_s[0] if self._schedule_s else 0)

    async def deliver(self, message: WebhookMessage, queued_at: datetime, *, is_urgent: bool = False) -> Delivery:
        """One attempt at `message`, noted, unless it is done with or its wait is not over.

        `is_urgent`: it does not wait because another message met no answer.
        """
        target = await self._execute_until_done(
            "fetchrow", READ_TARGET, message.endpoint_id, message.message_id, queued_at, message.sequence,
            message.alert_id,
        )  # fmt: skip
        if (settled := await self._settle(target, message)) is not None:
            return settled
        at, started = target["now"], time.monotonic()
        unreachable_at = target["unreachable_at"]
        pause_until = None if unreachable_at is None or is_urgent else unreachable_at + self._pause
        if (early := _early(target["next_at"], at) or _early(pause_until, at)) is not None:
            return early
        tenant_id: int = target["tenant_id"]
        if self._under_way[tenant_id] >= self._places_of_a_tenant:
            return TryAgain(CROWDED, "as many of this tenant are under way as may be")
        if not target["attempts"] and unreachable_at is None:
            DELAY.observe(max(0.0, (at - queued_at).total_seconds()))
        attempt = target["attempts"] + 1
        self._under_way[tenant_id] += 1
        try:
            complete = await self._with_story(message)
            answer = await self._post(target, complete, attempt, at)
        finally:
            self._under_way[tenant_id] -= 1
        duration_ms = int((time.monotonic() - started) * 1000)
        ended_at = at + timedelta(milliseconds=duration_ms)
        gone_at: datetime | None = target["gone_at"]
        is_gone = answer.outcome == "gone" and gone_at is not None and at - gone_at >= GONE_FOR_GOOD
        wait = None if is_gone else self._wait(target["in_round"], answer)
        if answer.is_proof:
            await self._execute_until_done(
                "fetchval", ACCEPT, message.endpoint_id, digest_of(secret_in(message.body))
            )
        if answer.outcome == "delivered" and (target["is_failing"] or gone_at is not None):
            # Before the attempt is recorded: a crash in between sends it again, and forgets none that wait.
            await self._execute_until_done("execute", RELEASE, message.endpoint_id)
        await self._execute_until_done(
            "execute",
            RECORD_ATTEMPT,
            target["tenant_id"],
            message.endpoint_id,
            message.message_id,
            message.alert_id,
            attempt,
            at,
            answer.outcome,
            answer.status,
            duration_ms,
            answer.text,
            None if wait is None else ended_at + wait,
            message.trace or None,
            "delivered" if answer.outcome == "delivered" else "abandoned" if wait is None else None,
            message.uuid,
        )
        DELIVERIES.labels(answer.outcome).inc()
        trace_attempt(message, target["tenant_id"], attempt, at, answer.outcome, answer.status)
        if answer.outcome == "gone" and (is_gone or gone_at is None):
            await self._see_to_gone(target, message.endpoint_id, at, is_for_good=is_gone)
        return self._conclude(message, attempt, answer, wait)

    async def _settle(self, target: Any, message: WebhookMessage) -> Delivery | None:
        """What becomes of a message without any attempt; None: one is to be made."""
        if target is None or target["is_delivered"]:
            return Delivered()
        if is_proof(message):  # It was proved meanwhile, or suspended; or it is too late, or a newer one goes.
            is_current = target["proof_digest"] == digest_of(secret_in(message.body))
            return None if is_current else Delivered()
        if target["is_superseded"]:
            await self._mark_recipient(message, "replaced")
            return Delivered()
        if target["state"] != "enabled":
            await self._mark_recipient(message, "abandoned")
            return Abandoned(target["attempts"], f"the endpoint is {target['state']}")
        return None

    async def _with_story(self, message: WebhookMessage) -> WebhookMessage:
        """With what its endpoint did not take of this alert before; the same at every attempt."""
        if message.sequence <= 1:
            return message
        rows = await self._execute_until_done(
            "fetch", TAKE_STORY, message.alert_id, message.endpoint_id, message.sequence
        )
        story = [
            {
                "id": message_id_of(row["id"]),
                "type": row["event"],
                "timestamp": row["at"],
                "sequence": row["sequence"],
                "severity": row["severity"],
                "message": row["message"],
            }
            for row in rows[-STORY_MOST:]
        ]
        return replace(message, body=with_data(message.body, story=story)) if story else message

    async def _see_to_gone(self, target: Any, endpoint_id: int, at: datetime, *, is_for_good: bool) -> None:
        """A first 410 warns the tenant; the one of a day later suspends, and says so."""
        address = shown_url(target["form"], target["url"])
        while True:
            try:
                async with self._pool.acquire() as connection, connection.transaction():
                    is_news = (
                        await connection.fetchval(DISABLE, endpoint_id, GONE_REASON)
                        if is_for_good
                        else await connection.fetchval(MARK_GONE, endpoint_id, at)
                    )
                    if is_news:
                        await warn_of_gone_endpoint(
                            connection, target["tenant_id"], endpoint_id, address, at, is_suspended=is_for_good
                        )
                    return
            except DATABASE_AWAY as away:
                log.warning("delivery_waits", error=describe(away))
                await asyncio.sleep(AWAY_S)

    async def _mark_recipient(self, message: WebhookMessage, state: str) -> None:
        if message.uuid is not None:
            await self._execute_until_done("execute", MARK_RECIPIENT, message.endpoint_id, message.uuid, state)

    def _wait(self, made: int, answer: Answer) -> timedelta | None:
        """Until the attempt that follows, after `made` earlier ones of this round; None: none follows."""
        if answer.outcome == "delivered" or made >= len(self._schedule_s):
            return None
        jitter = random.uniform(1, 1 + JITTER)  # noqa: S311 - Spreads retries.
        return max(timedelta(seconds=self._schedule_s[made] * jitter), answer.retry_after or timedelta(0))

    def _conclude(self, message: WebhookMessage, made: int, answer: Answer, wait: timedelta | None) -> Delivery:
        if answer.outcome == "delivered":
            return Delivered()
        reason = answer.text[:200] if answer.status is None else f"HTTP {answer.status}"
        log.warning(
            "webhook_not_delivered",
            endpoint=message.endpoint_id,
            attempt=made,
            reason=reason,
            trace_id=message.trace.hex(),
        )
        if wait is not None:
            return TryAgain(wait, reason)
        return (
            Delivered() if is_proof(message) else Abandoned(made, reason)
        )  # Nobody sends an old challenge again.

    async def _post(self, target: Any, message: WebhookMessage, attempt: int, at: datetime) -> Answer:
        if target["form"] == EMAIL:
            return await self._mail(target["url"].removeprefix(MAILTO), target["tenant_id"], message, at)
        secrets = self._secrets(target, message.endpoint_id)
        if not secrets:
            # It is tried again like any failure: an operator who corrects the key loses no message.
            return Answer(
                "failed", None, "le secret de l'adresse ne s'ouvre pas avec la clé de cette installation"
            )
        url = self._url(target, message.endpoint_id)
        if url is None:
            return Answer("failed", None, "l'adresse ne s'ouvre pas avec la clé de cette installation")
        if is_proof(message) and target["form"] == CLOUDEVENTS:
            headers = {"webhook-request-origin": self._origin, "user-agent": USER_AGENT}
            return await self._request(target, url, headers, None, at, self._has_allowed)
        rendered = render(target["form"], message.message_id, message.body)
        headers = signed_headers(
            secrets, message.message_id, at, rendered.body, rendered.content_type, message.sequence
        )
        if message.trace:
            headers["traceparent"] = TRACES.traceparent(webhook_stage(message, attempt), message.trace)
        if target["form"] == CLOUDEVENTS:
            headers["webhook-request-origin"] = self._origin
        is_challenge = is_proof(message) and target["form"] == STANDARD
        proves = partial(_returns, secret_in(message.body)) if is_challenge else None
        return await self._request(target, url, headers, rendered.body, at, proves)

    def _has_allowed(self, headers: httpx.Headers, _text: str) -> bool:
        return is_allowed(headers, self._origin)

    def _secrets(self, target: Any, endpoint_id: int) -> list[str]:
        """The secret, then the former one if that opens, too: another key may have wrapped it."""
        opened: list[str] = []
        owner = row_owner("webhook_endpoint", target["sealed_for"])
        for one in target["secrets_wrapped"]:
            try:
                opened.append(secret_text(self._keys.unwrap(one, owner)))
            except WrongKek as wrong:
                log.error("webhook_secret_not_opened", endpoint=endpoint_id, reason=str(wrong))
                break
        return opened

    def _url(self, target: Any, endpoint_id: int) -> str | None:
        """The whole address; None when it does not open."""
        if target["url_wrapped"] is None:
            return target["url"]
        try:
            return self._keys.unwrap_text(target["url_wrapped"], url_owner(target["sealed_for"]))
        except WrongKek as wrong:
            log.error("webhook_address_not_opened", endpoint=endpoint_id, reason=str(wrong))
            return None

    async def _mail(self, address: str, tenant_id: int, message: WebhookMessage, at: datetime) -> Answer:
        if self._mailer is None:
            return Answer("failed", None, "aucun serveur de courrier n'est réglé (TERRITOIRE_SMTP_URL)")
        reports = read_content(message.body).data.reports
        files = await read_attached(self._pool, tenant_id, reports) if reports else []
        try:
            text = await self._mailer.send(address, message.message_id, message.body, at, MAIL_TIMEOUT_S, files)
        except MailRejected as refused:
            return Answer("failed", refused.status, str(refused)[:ANSWER_KEPT])
        return Answer("delivered", MAIL_TAKEN, text[:ANSWER_KEPT])

    async def _request(
        self,
        target: Any,
        url: str,
        headers: dict[str, str],
        body: bytes | None,
        at: datetime,
        proves: Callable[[httpx.Headers, str], bool] | None = None,
    ) -> Answer:
        """POST the body, or without one ask by OPTIONS; with `proves` only an answer that does is a success."""
        transport = GuardedTransport(
            self._tls, AllowList.parse(target["webhook_allow_list"]), permit_http=self._permit_http
        )
        try:
            async with (
                asyncio.timeout(self._timeout_s) as patience,
                httpx.AsyncClient(
                    transport=transport, trust_env=False, follow_redirects=False, timeout=self._timeout_s
                ) as client,
                client.stream(
                    "OPTIONS" if body is None else "POST", url, content=body, headers=headers
                ) as response,
            ):
                patience.reschedule(None)  # It has answered: the rest of its body changes nothing.
                text = await _read(response)
                return _answer_of(response, text, at, proves)
        except ForbiddenDestination as refused:
            return Answer("refused", None, str(refused))
        except TimeoutError:
            return Answer("failed", None, f"pas de réponse en {self._timeout_s:g} s")
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as failed:
            return Answer("failed", None, describe_defect(failed)[:ANSWER_KEPT])

    async def _execute_until_done(self, method: str, statement: str, *arguments: object) -> Any:
        """Run a statement however long the database is away: what was sent must be recorded before all else."""
        while True:
            try:
                return await getattr(self._pool, method)(statement, *arguments)
            except DATABASE_AWAY as away:
                log.warning("delivery_waits", error=describe(away))
                await asyncio.sleep(AWAY_S)


def _returns(challenge: str, _headers: httpx.Headers, text: str) -> bool:
    return is_answered(text, challenge)


def _answer_of(
    response: httpx.Response, text: str, at: datetime, proves: Callable[[httpx.Headers, str], bool] | None
) -> Answer:
    status = response.status_code
    if proves is not None and proves(response.headers, text):
        return Answer("delivered", status, text, is_proof=True)
    if proves is not None and status != GONE:
        return Answer("failed", status, f"{UNANSWERED} : {text}"[:ANSWER_KEPT])
    if status == GONE:
        return Answer("gone", GONE, text)
    if response.is_success:
        return Answer("delivered", status, text)
    return Answer("failed", status, text, retry_after_of(response.headers.get("retry-after", ""), at))


async def _read(response: httpx.Response) -> str:
    """The first kilobyte of the answer, or what came of it in two seconds.

    No more than 64 kB are taken from the wire, not decompressed.
    """
    kept, taken = b"", 0
    with suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(ANSWER_READ_S):
            async for chunk in response.aiter_raw():
                taken += len(chunk)
                kept += chunk[: ANSWER_KEPT - len(kept)]
                if taken >= ANSWER_READ_MOST:
                    break
    return kept.decode("utf-8", "replace").replace("\0", "\ufffd")
