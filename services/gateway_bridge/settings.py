"""Settings of the gateway bridge."""

from typing import Annotated

from pydantic import Field, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from core.runtime.mqtt import Broker, MqttSettings
from core.runtime.settings import FROM_JSON, Expected
from gateways.settings import FrontendSettings
from gateways.udp_socket import RECEIVE_BUFFER


class Settings(MqttSettings, FrontendSettings):
    """One group for each way of speaking with gateways.

    `TERRITOIRE_UDP_*` is for packet forwarders, `TERRITOIRE_MQTT_*` for gateways with ChirpStack's contract,
    `TERRITOIRE_STATION_*` for LoRa Basics Station.
    """

    model_config = SettingsConfigDict(env_prefix="TERRITOIRE_", extra="ignore", frozen=True)

    udp_host: str = Field(default="0.0.0.0", description="Gateways come from anywhere")  # noqa: S104
    udp_port: int = Field(default=1700, ge=0, le=65535, description="0: any port")
    udp_receive_buffer: int = Field(
        default=RECEIVE_BUFFER,
        ge=4096,
        description="SO_RCVBUF in octets; a warning at start when the kernel grants less",
    )
    udp_read_on_s: float = Field(
        default=0,
        ge=0,
        le=300,
        description="After SIGTERM, seconds for which datagrams are still taken, until none comes any more: a "
        "network's table sends them here a while longer. 30 beside other replicas; 0 where nobody takes over, or "
        "the socket is handed to us: what comes then waits for the next bridge",
    )
    mqtt_prefixes: Annotated[
        dict[str, str], NoDecode, FROM_JSON, Expected('un objet JSON, {"eu868": "EU868"} par exemple')
    ] = Field(
        default_factory=lambda: {"eu868": "EU868", "": "EU868"},
        description="Region of each topic prefix, as JSON; the empty prefix is for topics without one",
    )

    @property
    def lingers_s(self) -> float:
        """While it reads on."""
        return self.udp_read_on_s

    @model_validator(mode="after")
    def _goes_together(self) -> "Settings":
        problems = [*self._tls_problems(), *self._feed_problems()]
        if problems:
            raise ValueError(" ; ".join(problems))
        return self

    def _tls_problems(self) -> list[str]:
        problems: list[str] = []
        if (self.station_certificate is None) != (self.station_key is None):
            problems.append("TERRITOIRE_STATION_CERTIFICATE et TERRITOIRE_STATION_KEY vont ensemble")
        if self.station_client_ca is not None and self.station_certificate is None:
            problems.append("TERRITOIRE_STATION_CLIENT_CA demande aussi TERRITOIRE_STATION_CERTIFICATE")
        if self.cups_port is not None and self.station_port is None:
            problems.append("TERRITOIRE_CUPS_PORT demande aussi TERRITOIRE_STATION_PORT")
        if self.station_crl is not None and self.station_client_ca is None:
            problems.append("TERRITOIRE_STATION_CRL demande aussi TERRITOIRE_STATION_CLIENT_CA")
        return problems

    def _feed_problems(self) -> list[str]:
        """What we publish for gateways must not come back to us as theirs."""
        if self.chirpstack_url is None:
            return []
        theirs = Broker.from_url(self.chirpstack_url.get_secret_value())
        ours = None if self.mqtt_url is None else Broker.from_url(self.mqtt_url.get_secret_value())
        is_same = ours is not None and (ours.host, ours.port) == (theirs.host, theirs.port)
        if is_same and self.chirpstack_prefix in self.mqtt_prefixes:
            return ["TERRITOIRE_CHIRPSTACK_PREFIX est un de TERRITOIRE_MQTT_PREFIXES, sur le même courtier"]
        return []
