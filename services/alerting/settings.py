"""Settings of alerting."""

from pydantic import Field, SecretStr, field_validator

from alerting.delivery import DEFAULT_SCHEDULE_S
from alerting.mail import Mailer, MailServer
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
    dispatch_s: float = Field(
        default=5.0, gt=0, le=60, description="Seconds between two looks for digests and escalations that are due"
    )
    webhook_schedule_s: tuple[float, ...] = Field(
        default=DEFAULT_SCHEDULE_S, description="Seconds to wait after the first, second ... failed attempt (JSON)"
    )
    webhook_concurrency: int = Field(
        default=64, ge=20, le=1000, description="Attempts at once, over all endpoints"
    )
    smtp_url: SecretStr | None = Field(
        default=None,
        description="Mail server: smtp://[user:password@]host:587 (STARTTLS) or smtps://...:465; none: no e-mail",
    )
    smtp_sender: str = Field(
        default="Territoire <territoire@localhost>",
        pattern=r"^[^\r\n]*[^\s@<]+@[^\s@>]+>?$",
        description="Who e-mails come from",
    )
    webhook_permit_http: bool = Field(default=False, description="Port 80 too, not only 443, on public addresses")

    @field_validator("smtp_url")
    @classmethod
    def _names_a_server(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            MailServer.parse(url.get_secret_value())
        return url

    @property
    def mailer(self) -> Mailer | None:
        """What hands e-mail over; None when no server is set."""
        if self.smtp_url is None:
            return None
        return Mailer(MailServer.parse(self.smtp_url.get_secret_value()), self.smtp_sender)
