"""What the network server's modules are set to; `services.network.settings` adds what only its process needs."""

from pydantic import Field

from core.runtime.settings import KeySettings


class NetworkServerSettings(KeySettings):
    """TERRITOIRE_NET_ID and so on: joins, windows, and how much is under way at once."""

    net_id: int = Field(
        default=0, ge=0, le=0x1F_FFFF, description="NetID of type 0; 0 and 1 are for private networks"
    )
    rx1_delay: int = Field(default=1, ge=1, le=15, description="Seconds from an uplink to RX1, for new sessions")
    far_rx1_delay: int = Field(
        default=5,
        ge=1,
        le=15,
        description="The same for devices whose gateways are far away, half a second there and back or more, "
        "behind mobile networks say; sessions that exist are moved by RXTimingSetupReq. RX1_DELAY: none",
    )
    rx2_data_rate: int = Field(
        default=3, ge=0, le=5, description="Data rate of RX2, for new sessions; 0 (SF12) carries eight times less"
    )
    dedup_window_ms: int = Field(default=200, ge=20, le=1000, description="How long copies of a frame are awaited")
    fetch_messages: int = Field(default=100, ge=1, le=1000, description="Messages per fetch and shard")
    requests_in_flight: int = Field(default=128, ge=1, le=4096, description="Requests to gateways at once")
    gateways_tried: int = Field(default=3, ge=1, le=8, description="Gateways asked for one downlink, at most")
