"""MQTT accesses: events that programs read at our broker, with the rights of a person or a key."""
