"""Settings of intake."""

from urllib.parse import urlsplit

from pydantic import Field

from core.runtime.settings import BrokerOfAccounts, KeySettings, OptionalBroker


class IntakeSettings(KeySettings):
    """TERRITOIRE_INTAKE_PORT and so on, beside those of every service and the key-encryption key."""

    intake_host: str = Field(default="127.0.0.1", description="Address to listen on; TLS ends in front of us")
    intake_port: int = Field(default=8081, ge=0, le=65535, description="Where LNS push by HTTP; 0: any port")
    intake_rate: int = Field(
        default=500, ge=1, description="Requests per second that one source may push, on each replica"
    )
    intake_mqtt_session_expiry: int = Field(
        default=604_800, ge=0, description="Seconds an LNS's broker keeps what we have not read (MQTT 5)"
    )
    intake_application_backlog: int = Field(
        default=100_000,
        ge=1,
        description="Events that may wait for one application; the oldest beyond are dropped",
    )
    mqtt_accounts_url: BrokerOfAccounts = Field(
        default=None,
        description="mqtt[s]://user:password@host:port of the broker at the edge (mosquitto), as the account that "
        "makes and withdraws those of gateways and partners; http[s]://key:secret@host:port of EMQX's API, with "
        "?ca=/path/ca.pem; unset: they are made by hand",
    )
    mqtt_events_url: OptionalBroker = Field(
        default=None,
        description="mqtt[s]://host:port of the same broker, where events of MQTT accesses are published; unset: "
        "as TERRITOIRE_MQTT_ACCOUNTS_URL, when that is MQTT",
    )

    @property
    def events_broker(self) -> str | None:
        """The broker of MQTT accesses, without an account: each has its own."""
        url = self.mqtt_events_url or self.mqtt_accounts_url
        if url is None or urlsplit(url.get_secret_value()).scheme not in {"mqtt", "mqtts"}:
            return None
        parts = urlsplit(url.get_secret_value())
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
