"""Settings of the network server."""

from network.settings import NetworkServerSettings


class NetworkSettings(NetworkServerSettings):
    """What the domain is set to; the process adds nothing."""
