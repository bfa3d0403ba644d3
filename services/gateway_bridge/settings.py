"""What the gateway bridge is told by its environment."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from core.runtime.mqtt import MqttSettings
from core.runtime.settings import ServiceSettings


class Settings(MqttSettings, ServiceSettings):
    """`TERRITOIRE_UDP_*` for packet forwarders, `TERRITOIRE_MQTT_*` for gateways with ChirpStack's contract."""

    model_config = SettingsConfigDict(env_prefix="TERRITOIRE_", extra="ignore", frozen=True)

    udp_host: str = Field(default="0.0.0.0", description="Gateways come from anywhere")  # noqa: S104
    udp_port: int = Field(default=1700, ge=0, le=65535, description="0: any port")
    udp_receive_buffer: int = Field(
        default=4 << 20, ge=4096, description="SO_RCVBUF in octets; a warning at start when the kernel grants less"
    )
    mqtt_prefixes: dict[str, str] = Field(
        default_factory=lambda: {"eu868": "EU868", "": "EU868"},
        description="Region of each topic prefix, as JSON; the empty prefix is for topics without one",
    )
