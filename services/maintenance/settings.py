"""Settings of maintenance: how long what is kept."""

from pathlib import Path

from pydantic import Field

from core.runtime.settings import KeySettings


class MaintenanceSettings(KeySettings):
    """TERRITOIRE_KEEP_UPLINKS_MONTHS and so on, beside those of every service. Rollups are kept for ever, but for
    hours of personal data.
    """

    rollups_every_s: float = Field(default=30.0, gt=0, le=600, description="Seconds between two passes of rollups")
    housekeeping_every_s: float = Field(
        default=3600.0, gt=0, le=86_400, description="Seconds between two passes of retention and pruning"
    )
    keep_measurements_months: int = Field(
        default=36, ge=0, le=1200, description="Of assets of privacy class 0 and 1; 0: for ever"
    )
    keep_personal_measurements_months: int = Field(
        default=12, ge=0, le=1200, description="Of assets of privacy class 2, at most, hours too; 0: for ever"
    )
    keep_uplinks_months: int = Field(default=13, ge=0, le=1200, description="With receptions; 0: for ever")
    keep_personal_uplinks_months: int = Field(
        default=12, ge=0, le=1200, description="Of devices that served an asset of class 2, at most; 0: for ever"
    )
    keep_quarantine_days: int = Field(
        default=90, ge=1, le=3650, description="Items of the bus that nobody can read"
    )
    keep_webhook_attempts_days: int = Field(
        default=90, ge=1, le=3650, description="Attempts at webhooks; those of a message that waits stay"
    )
    keep_alert_notices_days: int = Field(
        default=400, ge=1, le=3650, description="What people were told of alerts that are over"
    )
    compress_after_days: int = Field(
        default=30, ge=0, le=3650, description="Measurements, where TimescaleDB has compression; 0: never"
    )
    disk_limit_bytes: int = Field(
        default=0, ge=0, description="What the database may fill; 0: unknown. Below a fifth left, a warning"
    )
    disk_folder: Path | None = Field(
        default=None,
        description="A folder on the database's disk, where this process sees it; absent: another machine's. "
        "Below a fifth left, a warning",
    )
