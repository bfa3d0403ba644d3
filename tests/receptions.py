"""What a gateway received, as the bridge publishes it."""

from typing import Any

from core.messages.frames import GatewayFrame

# SF7 on the first channel of EU868.
USUAL: dict[str, Any] = {
    "context": b"",
    "frequency": 868_100_000,
    "spreading_factor": 7,
    "bandwidth": 125_000,
    "bit_rate": 0,
    "rssi": -80.0,
    "snr": 8.0,
    "channel": 0,
    "antenna": 0,
}


def reception(phy_payload: bytes, gateway_id: bytes, at_us: int, **besides: Any) -> GatewayFrame:
    """One gateway's copy of a frame, which came at once, but for what is said besides."""
    return GatewayFrame(phy_payload, gateway_id, at_us, at_us, **(USUAL | besides))
