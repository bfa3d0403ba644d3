"""Live frames: who looks at what, and what network shows of the frames that gateways receive. Core NATS, not kept.

Who looks says so on `topics.LIVE_LOOKS` and is shown frames on `topics.live_frames` of the look's id. What a look
may show is decided where it is opened (in the API, from the caller's key); network follows it.
"""

from typing import Literal

import msgspec

from core.messages.versions import MessageDecoder, encode_message

MOST_SECONDS = 60.0
# In place of a frame, to a viewer who is shown none: as many look already as may.
NO_MORE_LOOKS = b"full"


class Look(msgspec.Struct, frozen=True, array_like=True):
    """What one viewer is to be shown, for `seconds` from now on."""

    id: str
    seconds: float
    tenant_ids: list[int]
    """Whose devices it may see by name; the viewer's own tenant first."""
    gateway_ids: list[bytes]
    """Of what these receive it may see that it was received, whosever device it was."""
    is_operator: bool
    """May see that a frame was received, whosever device and gateway it was, and frames of no known device."""
    dev_eui: bytes = b""
    """Only this device, which its viewer may see; empty: all."""
    gateway_id: bytes = b""
    """Only what this gateway receives or is asked to transmit; empty: all."""


class LiveReception(msgspec.Struct, frozen=True, array_like=True):
    """A gateway that received the frame."""

    gateway_id: bytes
    rssi: float  # dBm
    snr: float  # dB


class LiveFrame(msgspec.Struct, frozen=True, array_like=True):
    """A frame, and what network decided of it. `is_hidden`: of a device whose name the viewer may not see.

    Of such a frame the network's operator is shown the header: DevAddr, FCnt, FPort, and `phy_payload` to FPort.
    """

    kind: Literal["data_up", "join_request", "other_up", "downlink", "join_accept"]
    at_us: int
    outcome: str
    """accepted, late_copy and so on, or a RejectReason; of a downlink OK, or a reason as of `downlink`."""
    octets: int
    frequency: int  # Hz; 0: nothing was transmitted.
    spreading_factor: int
    receptions: list[LiveReception]
    """Of a downlink: the gateway that took it, or was asked last."""
    is_hidden: bool = False
    dev_eui: bytes = b""
    dev_addr: bytes = b""
    f_cnt: int | None = None
    f_port: int | None = None
    left_out: int = 0
    """Frames of this look that were not shown since the one before: more came than are shown in a second."""
    phy_payload: bytes = b""
    """As on the air; of a frame that is hidden from an operator its header, from others nothing."""


_looks = MessageDecoder(Look)
_frames = MessageDecoder(LiveFrame)


def encode_live(message: Look | LiveFrame) -> bytes:
    """The octets of a look or of a frame."""
    return encode_message(message)


def decode_look(octets: bytes) -> Look:
    """Raises msgspec.MsgspecError for anything else than a look."""
    return _looks.decode(octets)


def decode_live_frame(octets: bytes) -> LiveFrame:
    """Raises msgspec.MsgspecError for anything else than a frame."""
    return _frames.decode(octets)
