"""What crosses the bus: msgspec Structs in msgpack, in the versions of `core.messages.versions`."""
