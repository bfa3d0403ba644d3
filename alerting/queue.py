"""Enqueues pgqueuer jobs in schema `jobs`, in the caller's transaction.

Why not a broker: docs/decisions/0040-webhooks-wait-in-postgresql.md.

Each endpoint is an entrypoint of its own with one job at a time, on all replicas together: a slow or dead endpoint
holds up its own messages and nobody else's.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import msgspec
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.db import AsyncpgDriver
from pgqueuer.domain.settings import DBSettings
from pgqueuer.queries import Queries

from core.messages.versions import MessageDecoder, encode_message
from core.model.identities import NO_TRACE
from core.runtime.postgres import BareConnection, Connection, Pool

ENTRYPOINT_PREFIX = "webhook/"
SETTINGS = DBSettings(prefix="", db_schema="jobs", channel="ch_pgqueuer")  # pyright: ignore[reportArgumentType]
ENQUEUE = QueryQueueBuilder(SETTINGS).build_enqueue_query("raise")
COUNT_PENDING = """
SELECT count(*) AS count, coalesce(extract(epoch FROM now() - min(created)), 0)::float8 AS oldest_s
FROM jobs.pgqueuer WHERE status IN ('queued', 'picked')
"""


class WebhookMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message to one endpoint; its id and its body are the same at every attempt."""

    message_id: str
    endpoint_id: int
    alert_id: int
    body: bytes
    trace_id: bytes = NO_TRACE
    sequence: int = 0  # Of the notification within its alert; 0: it is about no single alert, or of before 0047.

    @property
    def uuid(self) -> UUID | None:
        """Of its id; None for an id that is none of ours."""
        try:
            return UUID(self.message_id.removeprefix("msg_"))
        except ValueError:
            return None

    @property
    def trace(self) -> bytes:
        """Of the frame that caused it; a message that no frame caused begins a trace under its own id."""
        if self.trace_id or self.uuid is None:
            return self.trace_id
        return self.uuid.bytes


_decoder = MessageDecoder(WebhookMessage)


def entrypoint_of(endpoint_id: int) -> str:
    """The entrypoint of an endpoint's messages (the trigger of 0006_jobs.sql knows it too)."""
    return f"{ENTRYPOINT_PREFIX}{endpoint_id}"


def message_id_of(uuid: UUID) -> str:
    """The `webhook-id` of a notification, the same for every endpoint."""
    return f"msg_{uuid.hex}"


def decode_message(payload: bytes | None) -> WebhookMessage:
    """Raises msgspec.MsgspecError for anything else."""
    return _decoder.decode(payload or b"")


async def enqueue(connection: Connection, messages: Sequence[WebhookMessage], priority: int = 0) -> None:
    """Hand the messages to the queue with this transaction's commit; of those that wait the highest priority goes.

    The key of a job (`0045_notified_recipients.sql` knows it) names its message and its endpoint.
    """
    if not messages:
        return
    count = len(messages)
    # pgqueuer's own statement; its Queries would encode headers a second time on a connection with our JSON codec.
    await connection.fetch(
        ENQUEUE,
        [priority] * count,
        [entrypoint_of(message.endpoint_id) for message in messages],
        [encode_message(message) for message in messages],
        [timedelta(0)] * count,
        [f"{message.message_id}/{message.endpoint_id}" for message in messages],
        [None] * count,
    )


async def count_pending(connection: Connection | Pool) -> tuple[int, float]:
    """How many messages wait or are on their way, and the age of the oldest in seconds; 0: there is none."""
    row = await connection.fetchrow(COUNT_PENDING)
    return (0, 0.0) if row is None else (row["count"], row["oldest_s"])


def queries_on(connection: BareConnection) -> Queries:
    """The queries of pgqueuer in our schema, on a connection of its own without our codecs."""
    return Queries(
        AsyncpgDriver(connection),
        qbe=QueryBuilderEnvironment(SETTINGS),
        qbq=QueryQueueBuilder(SETTINGS),
        qbs=QuerySchedulerBuilder(SETTINGS),
    )
