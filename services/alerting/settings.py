"""Settings of alerting."""

from pydantic import Field

from alerting.delivery import DEFAULT_SCHEDULE_S
from core.runtime.settings import KeySettings


class AlertingSettings(KeySettings):
    """TERRITOIRE_PUBLIC_URL and so on, beside those of every service and the key-encryption key."""

    public_url: str = Field(default="", description="Where people reach the API, for the links in alerts")
    sweep_s: float = Field(default=1.0, gt=0, le=60, description="Seconds between two looks at the deadlines")
    least_watch_s: float = Field(
        default=300.0,
        ge=0,
        le=86_400,
        description="After a start, seconds before a device is called silent (its own period if that is shorter)",
    )
    webhook_schedule_s: tuple[float, ...] = Field(
        default=DEFAULT_SCHEDULE_S, description="Seconds to wait after the first, second ... failed attempt (JSON)"
    )
    webhook_concurrency: int = Field(
        default=64, ge=20, le=1000, description="Attempts at once, over all endpoints"
    )
    webhook_permit_http: bool = Field(default=False, description="Port 80 too, not only 443, on public addresses")
