"""What the frontends are set to; `services.gateway_bridge.settings` adds what only its process needs."""

from typing import Annotated, Literal

from pydantic import Field

from core.runtime.settings import Expected, Networks, OptionalBroker, PemFile, ServiceSettings


class FrontendSettings(ServiceSettings):
    """One group for each frontend.

    TERRITOIRE_UDP_* is for packet forwarders, TERRITOIRE_STATION_* for LoRa Basics Station, and
    TERRITOIRE_CHIRPSTACK_* for a ChirpStack that our gateways feed, too.
    """

    udp_gateway_rate: float = Field(
        default=2000, gt=0, description="Datagrams a second of one registered gateway; ten seconds' worth at once"
    )
    udp_address_rate: float = Field(
        default=200, gt=0, description="The same of one address and port that is no registered gateway's socket"
    )
    udp_address_lock_s: float = Field(
        default=30,
        ge=0,
        le=3600,
        description="How long a silent gateway's address and sockets are kept: nobody else speaks in its name",
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
    mqtt_accounts: Annotated[Literal["per_gateway", "shared"], Expected("per_gateway ou shared")] = Field(
        default="shared",
        description="per_gateway: the broker lets each account write under its own EUI only, so that a topic "
        "proves who speaks; shared: it does not",
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
        description="The authority of the gateways' certificates, PEM: each shows one that names its EUI, or a "
        "token; unset: no certificates are asked for",
    )
    station_crl: PemFile = Field(
        default=None, description="That authority's revocation list, PEM; read again when it changes"
    )
    station_credentials: Annotated[Literal["required", "none"], Expected("required ou none")] = Field(
        default="required",
        description="Whether a registered station must show a token or a certificate. With `none` whoever speaks "
        "is believed, as long as the gateway has not used a token",
    )
    station_proxies: Networks = Field(
        default=(), description="Networks of the proxies whose X-Forwarded-For says where a station comes from"
    )
    station_proxy_protocol: Networks = Field(
        default=(),
        description="Networks of the proxies that begin each connection with a PROXY header, version 1 or 2: "
        "stations from there without one, and from elsewhere with one, are refused",
    )
    cups_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="TCP port for CUPS, 3002 as a rule: stations fetch addresses, tokens, programs; unset: none",
    )
