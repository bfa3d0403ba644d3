"""Settings common to every service: environment variables that begin with TERRITOIRE_."""

import os
import socket
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from core.runtime.environment import BusAddress, DatabaseAddress, Expected

KEK_OCTETS = (16, 24, 32)


class ServiceSettings(BaseSettings):
    """What every process needs; each service adds its own in its `settings` module."""

    model_config = SettingsConfigDict(env_prefix="TERRITOIRE_", extra="ignore", frozen=True)

    database_url: DatabaseAddress = Field(description="postgresql://user:password@host:port/database")
    nats_url: BusAddress = Field(description="nats://user:password@host:port")
    instance: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}",
        description="Names this replica in leases, consumers and logs. A restart under the same name "
        "takes its shards back at once.",
    )
    health_host: str = "127.0.0.1"
    health_port: int = Field(default=0, ge=0, le=65535, description="/livez /readyz /metrics; 0: any port")
    pool_size: int = Field(default=4, ge=1, le=50)
    log_format: str = Field(default="json", pattern="^(json|console)$")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    trace_ratio: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Which part of all frames is followed from the gateway to the webhook, in the log and where "
        "OTEL_EXPORTER_OTLP_ENDPOINT says; the same for every service",
    )


class KeySettings(ServiceSettings):
    """For the services that wrap or open keys and secrets."""

    kek: Annotated[
        SecretStr, Expected("la clé de chiffrement de l'installation, 32, 48 ou 64 chiffres hexadécimaux")
    ] = Field(description="Key-encryption key, 16, 24 or 32 octets in hexadecimal")
    kek_id: str = "kek-1"

    @field_validator("kek")
    @classmethod
    def _kek_is_an_aes_key(cls, kek: SecretStr) -> SecretStr:
        try:
            octets = bytes.fromhex(kek.get_secret_value())
        except ValueError:
            octets = b""
        if len(octets) not in KEK_OCTETS:
            raise ValueError("not 32, 48 or 64 hexadecimal digits")
        return kek

    @property
    def kek_octets(self) -> bytes:
        """The key-encryption key itself."""
        return bytes.fromhex(self.kek.get_secret_value())
