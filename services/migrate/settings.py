"""Settings of migrate, which is no service: it has no replica, no health, and other rights on the database."""

import re
from typing import Annotated

import msgspec
from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.messages import topics
from core.runtime.settings import BusAddress, DatabaseAddress, Expected
from registry.rights import LOGINS

KEY = re.compile(r"terr_[^_\s]+_\S+")


def _divides_the_slots(shards: int) -> int:
    if shards not in topics.SHARD_COUNTS:
        raise ValueError("sixteen slots are shared out evenly")
    return shards


def _is_a_key(key: SecretStr) -> SecretStr:
    if KEY.fullmatch(key.get_secret_value()) is None:
        raise ValueError("an API key reads terr_<id>_<secret>")
    return key


def _names_services(logins: SecretStr) -> SecretStr:
    try:
        by_service = msgspec.json.decode(logins.get_secret_value(), type=dict[str, str])
    except msgspec.DecodeError as malformed:
        raise ValueError(str(malformed)) from None
    if by_service.keys() - LOGINS.keys() or "" in by_service.values():
        raise ValueError("a service that does not exist, or an empty password")
    return logins


Shards = Annotated[Annotated[int, AfterValidator(_divides_the_slots)] | None, Expected("1, 2, 4, 8 ou 16")]


class MigrateSettings(BaseSettings):
    """TERRITOIRE_DATABASE_URL is the schema owner's here, not a service's."""

    model_config = SettingsConfigDict(env_prefix="TERRITOIRE_", extra="ignore", frozen=True)

    database_url: DatabaseAddress
    nats_url: BusAddress
    shards: Shards = Field(
        default=None,
        description="Written in the database at the first migration, 4 when it is not set; refused where it "
        "is another number than the database's: `territoire reshard` changes that one",
    )
    bus_replicas: int = Field(default=1, ge=1, le=5, description="Copies of a stream: 3 where NATS is a cluster")
    logins: Annotated[
        Annotated[SecretStr, AfterValidator(_names_services)] | None,
        Expected('un objet JSON, {"network": "motdepasse", …}, un mot de passe pour chaque service'),
    ] = Field(default=None, description="Passwords of territoire_network, territoire_api..., by service, as JSON")
    service_password: SecretStr | None = Field(
        default=None, description="Of territoire_service, which all services shared; for an installation that does"
    )
    api_password: SecretStr | None = Field(default=None, description="Of the role territoire_api")
    operator_key: Annotated[
        Annotated[SecretStr, AfterValidator(_is_a_key)] | None, Expected("terr_<nom>_<secret>, sans espace")
    ] = Field(default=None, description="terr_<id>_<secret>: the first key, of a first tenant that is made for it")
    operator_email: str = Field(default="", description="With a password: the first person, of that first tenant")
    operator_password: SecretStr | None = Field(
        default=None, description="Kept hashed; set once, not changed later"
    )
    log_format: str = Field(default="json", pattern="^(json|console)$")

    @property
    def passwords(self) -> dict[str, str]:
        """Of the login roles, by role."""
        shared = {"territoire_service": self.service_password, "territoire_api": self.api_password}
        found = {role: password.get_secret_value() for role, password in shared.items() if password is not None}
        if self.logins is not None:
            by_service = msgspec.json.decode(self.logins.get_secret_value(), type=dict[str, str])
            found |= {LOGINS[service]: password for service, password in by_service.items()}
        return found
