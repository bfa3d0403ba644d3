"""Settings of migrate, which is no service: it has no replica, no health, and other rights on the database."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.runtime.settings import BusAddress, DatabaseAddress, Expected

SHARDS = (1, 2, 4, 8, 16)
KEY = re.compile(r"terr_[^_\s]+_\S+")


def _divides_the_slots(shards: int) -> int:
    if shards not in SHARDS:
        raise ValueError("sixteen slots are shared out evenly")
    return shards


def _is_a_key(key: SecretStr) -> SecretStr:
    if KEY.fullmatch(key.get_secret_value()) is None:
        raise ValueError("an API key reads terr_<id>_<secret>")
    return key


class MigrateSettings(BaseSettings):
    """TERRITOIRE_DATABASE_URL is the schema owner's here, not a service's."""

    model_config = SettingsConfigDict(env_prefix="TERRITOIRE_", extra="ignore", frozen=True)

    database_url: DatabaseAddress
    nats_url: BusAddress
    shards: Annotated[int, AfterValidator(_divides_the_slots), Expected("1, 2, 4, 8 ou 16")] = Field(
        default=4, description="Written in the database at the first migration only"
    )
    bus_replicas: int = Field(default=1, ge=1, le=5, description="Copies of a stream: 3 where NATS is a cluster")
    service_password: SecretStr | None = Field(default=None, description="Of the role territoire_service")
    api_password: SecretStr | None = Field(default=None, description="Of the role territoire_api")
    operator_key: Annotated[
        Annotated[SecretStr, AfterValidator(_is_a_key)] | None, Expected("terr_<nom>_<secret>, sans espace")
    ] = Field(default=None, description="terr_<id>_<secret>: the first key, of a first tenant that is made for it")
    operator_email: str = Field(default="", description="With a password: the first person, of that first tenant")
    operator_password: SecretStr | None = Field(
        default=None, description="Kept hashed; set once, not changed later"
    )
    log_format: str = Field(default="json", pattern="^(json|console)$")
