"""Settings of the mail server, for the services that send e-mail."""

from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from alerting.mail import Mailer, MailServer
from core.runtime.settings import Expected


class MailSettings(BaseSettings):
    """TERRITOIRE_SMTP_URL and TERRITOIRE_SMTP_SENDER."""

    smtp_url: Annotated[
        SecretStr | None,
        Expected("smtp://[compte:motdepasse@]machine:587 ou smtps://[compte:motdepasse@]machine:465"),
    ] = Field(
        default=None,
        description="Mail server: smtp://[user:password@]host:587 (STARTTLS) or smtps://...:465; none: no e-mail",
    )
    smtp_sender: Annotated[str, Expected("une adresse, « Nom <nom@commune.fr> » ou nom@commune.fr")] = Field(
        default="Territoire <territoire@localhost>",
        pattern=r"^[^\r\n]*[^\s@<]+@[^\s@>]+>?$",
        description="Who e-mails come from",
    )

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
