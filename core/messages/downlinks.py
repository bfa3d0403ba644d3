"""Requests to transmit, from network to the bridge replica that holds a gateway's path, and their answers."""

import msgspec

from core.messages.versions import MessageDecoder, encode_message


class Transmission(msgspec.Struct, frozen=True, array_like=True):
    """One way to transmit a frame. It has either `delay_us` (after the uplink of `context`) or `immediate`."""

    phy_payload: bytes
    frequency: int  # Hz
    spreading_factor: int
    bandwidth: int  # Hz
    delay_us: int
    immediate: bool


class TransmitRequest(msgspec.Struct, frozen=True, array_like=True):
    """Transmit the first of `transmissions` that the radio and its duty cycle allow; one at most goes out.

    Unless `falls_back`, one whose radio is not free for the first is refused at once: another gateway may be free.
    `uplink_at_us` is when the answered uplink arrived at the bridge, on the bridge's clock (`received_at_us`);
    0 for class C. `latest_at_us` is the last instant at which starting an immediate transmission is useful.
    """

    downlink_id: int  # 0: no row (join-accept, acknowledgement).
    gateway_id: bytes
    context: bytes
    uplink_at_us: int
    latest_at_us: int
    priority: int  # lorawan.airtime.Priority
    transmissions: list[Transmission]
    falls_back: bool = True


class TransmitReply(msgspec.Struct, frozen=True, array_like=True):
    """What became of a request.

    `status` is OK, or a TX_ACK error of the gateway (TOO_LATE, TOO_EARLY, COLLISION_PACKET, COLLISION_BEACON,
    TX_FREQ, TX_POWER, GPS_UNLOCKED), a rejection by the scheduler (COLLISION_PACKET, DUTY_CYCLE_OVERFLOW,
    TOO_LATE), or NO_ACK when the gateway stayed silent. `fits_at_us` is when the transmission would fit, or 0.
    """

    status: str
    index: int  # Which of `transmissions`; -1: none.
    fits_at_us: int
    starts_at_us: int


_requests = MessageDecoder(TransmitRequest)
_replies = MessageDecoder(TransmitReply)


def encode_transmit(message: TransmitRequest | TransmitReply) -> bytes:
    """The octets of a request or a reply."""
    return encode_message(message)


def decode_request(octets: bytes) -> TransmitRequest:
    """Raises msgspec.MsgspecError for anything else than a request."""
    return _requests.decode(octets)


def decode_reply(octets: bytes) -> TransmitReply:
    """Raises msgspec.MsgspecError for anything else than a reply."""
    return _replies.decode(octets)
