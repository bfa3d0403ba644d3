"""Settings of the network server."""

from pydantic import Field

from network.settings import NetworkServerSettings


class NetworkSettings(NetworkServerSettings):
    """TERRITOIRE_ADR and so on: which MAC commands devices are sent, beside what the domain is set to."""

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
