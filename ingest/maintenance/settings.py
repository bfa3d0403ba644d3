"""Settings of retention; `services.maintenance.settings` adds what only its process needs."""

from pydantic import Field

from core.runtime.settings import KeySettings


class RetentionSettings(KeySettings):
    """TERRITOIRE_KEEP_UPLINKS_MONTHS and so on. Rollups are kept for ever, but for those of personal data."""

    keep_measurements_months: int = Field(
        default=36, ge=0, le=1200, description="Of assets of privacy class 0 and 1; 0: for ever"
    )
    keep_personal_measurements_months: int = Field(
        default=12, ge=0, le=1200, description="Of privacy class 2, at most; 0: for ever"
    )
    keep_personal_hours_months: int = Field(
        default=13, ge=0, le=1200, description="Hourly rollups of class 2, and readings at the most; 0: for ever"
    )
    keep_personal_days_months: int = Field(
        default=36, ge=0, le=1200, description="Daily rollups of class 2; 0: for ever"
    )
    keep_uplinks_months: int = Field(default=13, ge=0, le=1200, description="With receptions; 0: for ever")
    keep_personal_uplinks_months: int = Field(
        default=12,
        ge=0,
        le=1200,
        description="Of devices that serve or served what is of class 2, at most; 0: for ever",
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
    keep_audit_months: int = Field(default=36, ge=0, le=1200, description="Lines of the audit; 0: for ever")
    compress_after_days: int = Field(
        default=30, ge=0, le=3650, description="Measurements, where TimescaleDB has compression; 0: never"
    )
