"""Settings of the network server."""

from pydantic import Field

from core.runtime.settings import KeySettings


class NetworkSettings(KeySettings):
    """TERRITOIRE_NET_ID and so on, beside those of every service and the key-encryption key."""

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
    rx2_for_all: bool = Field(
        default=False, description="Also move sessions that were opened otherwise to this RX2, by RXParamSetupReq"
    )
    dedup_window_ms: int = Field(default=200, ge=20, le=1000, description="How long copies of a frame are awaited")
    adr: bool = Field(default=True, description="Adapt the data rate and power of devices that ask for it")
    dev_status_every_h: int = Field(
        default=24, ge=0, le=744, description="Hours between two questions about a device's battery; 0: never"
    )
    max_duty_cycle: int = Field(
        default=0, ge=0, le=15, description="Devices use at most 1 / 2^n of the time; 0: what the law allows"
    )
    fetch_messages: int = Field(default=100, ge=1, le=1000, description="Messages per fetch and shard")
    requests_in_flight: int = Field(default=128, ge=1, le=4096, description="Requests to gateways at once")
    gateways_tried: int = Field(default=3, ge=1, le=8, description="Gateways asked for one downlink, at most")
