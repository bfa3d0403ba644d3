"""Settings of ingest."""

from pydantic import Field

from ingest.settings import BatchSettings


class IngestSettings(BatchSettings):
    """TERRITOIRE_CODEC_WORKERS, beside the sizes of batches."""

    codec_workers: int = Field(
        default=1, ge=1, le=64, description="Processes for vendors' codecs, when one is used"
    )
