"""The settings of the network server."""

from pydantic import Field

from core.runtime.settings import KeySettings
from lorawan.commands.rx_param_setup import RxParamSetupReq
from lorawan.mac_state import HOUR_US, MacPolicy
from lorawan.regions import EU868


class NetworkServerSettings(KeySettings):
    """TERRITOIRE_NET_ID and so on: joins, windows, MAC commands, and how much is under way at once."""

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
    rx2_for_all: bool = Field(
        default=False, description="Also move sessions that were opened otherwise to this RX2, by RXParamSetupReq"
    )
    adr: bool = Field(default=True, description="Adapt the data rate and power of devices that ask for it")
    dev_status_every_h: int = Field(
        default=24, ge=0, le=744, description="Hours between two questions about a device's battery; 0: never"
    )
    max_duty_cycle: int = Field(
        default=0, ge=0, le=15, description="Devices use at most 1 / 2^n of the time; 0: what the law allows"
    )

    @property
    def mac_policy(self) -> MacPolicy:
        """What devices' MAC layers are asked for, as set here."""
        rx2 = RxParamSetupReq(0, self.rx2_data_rate, EU868.rx2_frequency)
        return MacPolicy(
            EU868,
            rx1_delay=self.rx1_delay,
            far_rx1_delay=self.far_rx1_delay,
            rx_params=rx2 if self.rx2_for_all else None,
            max_duty_cycle=self.max_duty_cycle,
            status_every_us=self.dev_status_every_h * HOUR_US,
            adr=self.adr,
        )
