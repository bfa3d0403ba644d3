"""What crosses the bus: msgspec Structs in msgpack, each message behind one version byte."""
