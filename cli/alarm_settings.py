"""Whom `territoire alarm` notifies."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from alerting.mail_settings import MailSettings
from core.runtime.settings import Expected, address_check


class AlarmSettings(MailSettings):
    """TERRITOIRE_ALARM_MAIL and TERRITOIRE_ALARM_URL, beside those of the mail server."""

    model_config = SettingsConfigDict(env_prefix="TERRITOIRE_", extra="ignore", frozen=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - These are the library's.
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `read_settings` is given: a wrong one that was left out is not read from elsewhere."""
        return (init_settings,)

    alarm_mail: Annotated[str, Expected("des adresses, séparées par des virgules")] = Field(
        default="",
        pattern=r"^(\s*[^\s@,]+@[^\s@,]+\s*(,|$))*$",
        description="Who is notified when something of this server turns bad; commas between addresses",
    )
    alarm_url: Annotated[
        Annotated[SecretStr, AfterValidator(address_check("http", "https"))] | None,
        BeforeValidator(lambda text: text or None),  # A line of the file without a value says nobody.
        Expected("une adresse https://machine/… ou http://machine/…"),
    ] = Field(default=None, description="Or an address that takes a POST with a text: a chat's incoming webhook")

    @property
    def addresses(self) -> list[str]:
        """Each address by itself."""
        return [address.strip() for address in self.alarm_mail.split(",") if address.strip()]

    @property
    def recipients(self) -> int:
        """To how many a message goes."""
        return (len(self.addresses) if self.mailer is not None else 0) + (self.alarm_url is not None)

    @property
    def reaches_somebody(self) -> bool:
        """Whether a message would arrive anywhere."""
        return self.recipients > 0
