"""Validates the URL of somebody else's MQTT broker, and what goes before topics there."""

import re

from pydantic_core import PydanticCustomError

from core.runtime.http.errors import invalid
from core.runtime.mqtt import Broker

TOPIC_PREFIX = re.compile(r"(?:[^+#/$\x00-\x1f\x7f]+/)+")


def require_broker(mqtt_url: str) -> None:
    """Raises 422 unless it is a broker's address without credentials: these have fields of their own."""
    try:
        broker = Broker.from_url(mqtt_url)
    except ValueError:
        broker = None
    if broker is None or broker.username or broker.password:
        raise invalid("mqtt_url", "url", "mqtt://hôte:port ou mqtts://hôte:port attendu, sans identifiants")


def checked_topic_prefix(text: str) -> str:
    """The text, unless it is no topic that ends with a slash."""
    if text and not TOPIC_PREFIX.fullmatch(text):
        raise PydanticCustomError("topic_prefix", "préfixe de topics attendu, sans + ni #, / à la fin seulement")
    return text
