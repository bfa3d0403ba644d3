"""The JetStream streams and their limits (docs/architecture.md, "Streams are few, their messages large")."""

from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from core.messages import topics

GIB = 1 << 30
DUPLICATE_WINDOW_S = 120


def _work_queue(name: str, subjects: str, max_bytes: int) -> StreamConfig:
    """A full stream rejects new messages: it pushes back to its publisher and never drops old ones."""
    return StreamConfig(
        name=name,
        subjects=[subjects],
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        max_bytes=max_bytes,
        duplicate_window=DUPLICATE_WINDOW_S,
    )


STREAMS = (
    _work_queue(topics.FRAMES, topics.ALL_FRAMES, 4 * GIB),
    _work_queue(topics.UPLINKS, topics.ALL_UPLINKS, 4 * GIB),
)
# Its truth is the table: it lives in memory and can never hold up ingest.
MEASUREMENTS_STREAM = StreamConfig(
    name=topics.MEASUREMENTS,
    subjects=[topics.ALL_MEASUREMENTS],
    retention=RetentionPolicy.LIMITS,
    storage=StorageType.MEMORY,
    discard=DiscardPolicy.OLD,
    max_bytes=256 << 20,
    max_age=3600,
)
