"""Settings of alerting."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import NoDecode

from alerting.mail_settings import MailSettings
from alerting.retry_schedule import DEFAULT_SCHEDULE_S
from core.runtime.settings import FROM_JSON, Expected, KeySettings


class AlertingSettings(KeySettings, MailSettings):
    """TERRITOIRE_PUBLIC_URL and so on, beside those of every service and the key-encryption key."""

    public_url: str = Field(default="", description="Where people reach the API, for the links in alerts")
    alert_url: Annotated[
        str, Expected("une adresse avec {alert}, https://alertes.mairie.fr/{alert} par exemple")
    ] = Field(
        default="",
        pattern=r"^(https?://\S*\{alert\}\S*)?$",
        description="Where people see an alert in software of their own; empty: its address in the API",
    )
    sweep_s: float = Field(default=1.0, gt=0, le=60, description="Seconds between two looks at the deadlines")
    least_watch_s: float = Field(
        default=300.0,
        ge=0,
        le=86_400,
        description="After a start, seconds before a device is called silent (its own period if that is shorter)",
    )
    dispatch_s: float = Field(
        default=5.0, gt=0, le=60, description="Seconds between two looks for digests and escalations that are due"
    )
    measurement_webhooks_s: float = Field(
        default=1.0, gt=0, le=60, description="Seconds between two looks for measurements that webhooks wait for"
    )
    webhook_schedule_s: Annotated[
        tuple[float, ...], NoDecode, FROM_JSON, Expected("une liste JSON de secondes, [5, 300, 1800] par exemple")
    ] = Field(
        default=DEFAULT_SCHEDULE_S, description="Seconds to wait after the first, second ... failed attempt (JSON)"
    )
    webhook_concurrency: int = Field(
        default=64, ge=20, le=1000, description="Attempts at once, over all endpoints"
    )
    webhook_permit_http: bool = Field(default=False, description="Port 80 too, not only 443, on public addresses")

    @property
    def alert_link(self) -> str:
        """The link in alerts, with {alert} in place of the number."""
        return self.alert_url or f"{self.public_url.rstrip('/')}/v1/alerts/{{alert}}"

    @property
    def report_link(self) -> str:
        """Where people read reports."""
        return f"{self.public_url.rstrip('/')}/rapports{{query}}"

    @property
    def work_order_link(self) -> str:
        """The link in messages about work orders: the console's page of it, {work_order} for the number."""
        return f"{self.public_url.rstrip('/')}/interventions/{{work_order}}"
