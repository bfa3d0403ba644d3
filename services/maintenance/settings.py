"""Settings of maintenance."""

from pathlib import Path

from pydantic import Field

from ingest.maintenance.settings import RetentionSettings


class MaintenanceSettings(RetentionSettings):
    """How often rollups and housekeeping run, and when the disk is called full, beside how long what is kept."""

    rollups_every_s: float = Field(default=30.0, gt=0, le=600, description="Seconds between two passes of rollups")
    housekeeping_every_s: float = Field(
        default=3600.0, gt=0, le=86_400, description="Seconds between two passes of retention and pruning"
    )
    erasure_ledger: Path | None = Field(
        default=None,
        description="A file beside the backups that names by keyed digests what was erased; a restore reads it. "
        "Absent: the log has it, and each `backup` writes it beside the dump",
    )
    erasure_settle_s: float = Field(
        default=30.0, ge=0, le=86_400, description="Seconds until what came in meanwhile is erased, too"
    )
    disk_limit_bytes: int = Field(
        default=0, ge=0, description="What the database may fill; 0: unknown. Below a fifth left, a warning"
    )
    disk_folder: Path | None = Field(
        default=None,
        description="A folder on the database's disk, where this process sees it; absent: another machine's. "
        "Below a fifth left, a warning",
    )
