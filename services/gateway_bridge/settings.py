"""What the gateway bridge is told by its environment."""

from typing import Annotated

from pydantic import Field, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from core.runtime.environment import FROM_JSON, Expected, OptionalBroker, PemFile
from core.runtime.mqtt import Broker, MqttSettings
from core.runtime.settings import ServiceSettings


class Settings(MqttSettings, ServiceSettings):
    """One group for each way of speaking with gateways.

    `TERRITOIRE_UDP_*` is for packet forwarders, `TERRITOIRE_MQTT_*` for gateways with ChirpStack's contract,
    `TERRITOIRE_STATION_*` for LoRa Basics Station.
    """

    model_config = SettingsConfigDict(env_prefix="TERRITOIRE_", extra="ignore", frozen=True)

    udp_host: str = Field(default="0.0.0.0", description="Gateways come from anywhere")  # noqa: S104
    udp_port: int = Field(default=1700, ge=0, le=65535, description="0: any port")
    udp_receive_buffer: int = Field(
        default=4 << 20, ge=4096, description="SO_RCVBUF in octets; a warning at start when the kernel grants less"
    )
    udp_gateway_rate: float = Field(
        default=2000, gt=0, description="Datagrams a second of one registered gateway; ten seconds' worth at once"
    )
    udp_address_rate: float = Field(
        default=200, gt=0, description="The same of one address that speaks for no registered gateway"
    )
    udp_address_lock_s: float = Field(
        default=60,
        ge=0,
        le=3600,
        description="How long the address of a silent gateway is kept: nobody else may speak in its name",
    )
    mqtt_prefixes: Annotated[
        dict[str, str], NoDecode, FROM_JSON, Expected('un objet JSON, {"eu868": "EU868"} par exemple')
    ] = Field(
        default_factory=lambda: {"eu868": "EU868", "": "EU868"},
        description="Region of each topic prefix, as JSON; the empty prefix is for topics without one",
    )
    chirpstack_url: OptionalBroker = Field(
        default=None,
        description="mqtt[s]://user:password@host:port of the broker of a ChirpStack that our gateways feed, too; "
        "unset: none. Another broker, or another prefix, than gateways reach us by",
    )
    chirpstack_prefix: Annotated[str, Expected("un préfixe de sujet sans +, # ni / final, ou rien")] = Field(
        default="eu868",
        pattern=r"^[^+#]*[^+#/]$|^$",
        description="Topic prefix of that ChirpStack's region, without the slash; may be empty",
    )
    chirpstack_json: bool = Field(default=False, description="Speak JSON there instead of protobuf")
    chirpstack_stats_s: float = Field(
        default=30, ge=5, le=3600, description="Seconds between two gateway statistics"
    )
    station_host: str = Field(default="0.0.0.0", description="Stations come from anywhere")  # noqa: S104
    station_port: int | None = Field(
        default=None, ge=0, le=65535, description="TCP port for stations, 3001 as a rule; 0: any; unset: none"
    )
    station_url: Annotated[str | None, Expected("ws://machine:port ou wss://machine:port")] = Field(
        default=None,
        pattern=r"^wss?://[A-Za-z0-9.\-\[\]:]+:[0-9]+$",
        description="ws[s]://host:port as stations reach us; unset: as they reached us for their first question. "
        "Needed behind a proxy that ends TLS",
    )
    station_certificate: PemFile = Field(default=None, description="Our certificate chain, PEM; unset: no TLS")
    station_key: PemFile = Field(default=None, description="The key of our certificate, PEM")
    station_client_ca: PemFile = Field(
        default=None,
        description="The authority of the gateways' certificates, PEM: each must show one whose common name is "
        "its EUI; unset: whoever speaks is believed",
    )

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
