"""Settings of ingest; `services.ingest.settings` adds what only its process needs."""

from pydantic import Field

from core.runtime.settings import KeySettings


class BatchSettings(KeySettings):
    """TERRITOIRE_FETCH_MESSAGES and so on: the size of batches and how long they wait."""

    fetch_messages: int = Field(default=50, ge=1, le=1000, description="Messages per fetch and shard")
    pass_uplinks: int = Field(default=4000, ge=1, le=50_000, description="Uplinks in one transaction, about")
    linger_ms: int = Field(default=40, ge=0, le=1000, description="How long a transaction waits for more uplinks")
    longest_linger_ms: int = Field(default=250, ge=0, le=5000, description="The same under load")
