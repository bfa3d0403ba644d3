"""Validates the URL of somebody else's MQTT broker."""

from core.runtime.http.errors import invalid
from core.runtime.mqtt import Broker


def require_broker(mqtt_url: str) -> None:
    """Raises 422 unless it is a broker's address without credentials: these have fields of their own."""
    try:
        broker = Broker.from_url(mqtt_url)
    except ValueError:
        broker = None
    if broker is None or broker.username or broker.password:
        raise invalid("mqtt_url", "url", "mqtt://hôte:port ou mqtts://hôte:port attendu, sans identifiants")
