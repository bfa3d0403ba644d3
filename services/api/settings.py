"""Settings of the API."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from alerting.mail_settings import MailSettings
from core.runtime.settings import Expected, KeySettings, Networks
from indicators.buildings.form_columns import Forms, InvalidForm, read_forms


def _folder(path: Path | None) -> Path | None:
    if path is not None and not path.is_dir():
        raise ValueError("no folder")
    return path


FormsFolder = Annotated[
    Annotated[Path | None, BeforeValidator(lambda value: value or None), AfterValidator(_folder)],
    Expected("le chemin d'un dossier que ce processus peut lire"),
]


class ApiSettings(KeySettings, MailSettings):
    """TERRITOIRE_API_PORT and so on, beside those of every service and the key-encryption key."""

    pool_size: int = Field(default=8, ge=1, le=50, description="Connections to the database")
    codec_workers: int = Field(default=1, ge=1, le=16, description="Processes for codecs that are tried")
    api_host: str = Field(default="127.0.0.1", description="Address to listen on; TLS ends in front of us")
    api_port: int = Field(default=8080, ge=0, le=65535, description="0: any port")
    api_trusted_proxies: Networks = Field(
        default=(), description="Networks of the proxies whose X-Forwarded-For is believed; empty: none"
    )
    api_proxy_protocol: Networks = Field(
        default=(),
        description="Networks of the proxies that begin each connection with a PROXY header, version 1 or 2: "
        "connections from there without one, and from elsewhere with one, are refused",
    )
    public_url: str = Field(default="", description="Where people reach the API, for the links in invitations")
    mqtt_public_url: str = Field(
        default="",
        pattern=r"^(mqtts?://[^\s/@]+)?$",
        description="Where applications reach our MQTT broker, mqtts://mqtt.example.fr:8883; empty: there are no "
        "MQTT accesses",
    )
    api_person_rate: int = Field(
        default=3_000, ge=0, description="Requests of a person in a minute; 0: any number"
    )
    api_address_rate: int = Field(
        default=30_000, ge=0, description="Requests of an address in a minute; 0: any number"
    )
    api_wrong_rate: int = Field(
        default=20,
        ge=0,
        description="Wrong keys, sessions and tokens of an address in a minute, before it is refused unread; "
        "0: any number",
    )

    map_tiles_url: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="Background of maps, with {z}, {x} and {y} (the State's Plan IGN, for example); empty: none",
    )
    map_attribution: str = Field(default="", description="To whom the background of maps belongs")
    osrm_url: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="OSRM that says how far it is by road, for rounds; empty: great circle times 1.3",
    )
    accessibility_contact: str = Field(
        default="", description="On the accessibility page: an e-mail, an address, a telephone; empty: the tenant"
    )

    building_forms: FormsFolder = Field(
        default=None,
        description="Folder whose operat.toml and schools.toml take the place of ours; empty: ours",
    )

    oidc_issuer: str = Field(
        default="",
        pattern=r"^(https?://\S+)?$",
        description="Provider of identities, as it calls itself; empty: none",
    )
    oidc_client_id: str = Field(default="territoire", description="Who we are to it")
    oidc_client_secret: SecretStr | None = Field(default=None, description="None: a public client, PKCE alone")
    oidc_audience: str = Field(default="", description="Of its bearer tokens; empty: the client id")

    @model_validator(mode="after")
    def _forms_are_readable(self) -> Self:
        self.forms()
        return self

    def forms(self) -> Forms:
        """Forms of buildings; raises ValueError that says in French what is wrong with a file."""
        try:
            return read_forms(self.building_forms)
        except InvalidForm as wrong:
            raise ValueError(f"TERRITOIRE_BUILDING_FORMS : {wrong}") from None
