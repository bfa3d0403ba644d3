"""The interfaces between a frontend (one gateway protocol) and the rest of the bridge."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from core.messages.downlinks import Transmission
from core.messages.frames import GatewayFrame
from lorawan.identifiers import GatewayId

OK = "OK"
NO_ACK = "NO_ACK"
INTERNAL_ERROR = "INTERNAL_ERROR"
# From the request until the gateway's answer: a round trip over a mobile network and a second.
TX_ACK_TIMEOUT_S = 2.0
# Of one whose round trip is known, and a receive window waits: beyond its round trip, so that another gateway may
# still serve RX2.
TX_ACK_MARGIN_S = 0.3


@dataclass(frozen=True, slots=True)
class ChosenTransmission:
    """One frame for one gateway's radio, in the one way that was chosen."""

    gateway_id: GatewayId
    context: bytes
    transmission: Transmission
    power: int
    """dBm, as the gateway is to be asked for it (`lorawan.radiated_power`)."""
    starts_at_us: int = 0
    """When it is to be on the air, microseconds since 1970 on the bridge's clock; 0: at once."""


class FrameSink(Protocol):
    """Takes the receptions that gateways report."""

    def submit_frame(self, frame: GatewayFrame, done: Callable[[], None] | None = None) -> None:
        """Take a frame; `done` is called once it is in the stream."""
        ...


class Frontend(Protocol):
    """One protocol of gateways."""

    @property
    def name(self) -> str:
        """The name as `gateway_state.frontend` has it."""
        ...

    @property
    def answers_at_once(self) -> bool:
        """Whether a gateway acknowledges when it has queued a frame, so that the delay measures its round trip."""
        ...

    async def transmit(self, radio_request: ChosenTransmission) -> str:
        """Ask the gateway's radio and wait for its answer: OK, the error that it names, or NO_ACK."""
        ...


@runtime_checkable
class WindowFrontend(Frontend, Protocol):
    """A protocol of gateways that answer when they transmit, not when they have queued a frame.

    An answer comes too late to choose another window: they are given all of them, and fall back by themselves.
    """

    async def transmit_in_windows(self, radio_requests: Sequence[ChosenTransmission]) -> tuple[str, int]:
        """Ask for one frame in any of its windows, the first that the radio can keep.

        Returns:
            The gateway's answer as for `transmit`, and which of the transmissions went out.
        """
        ...

    def round_trip_us(self, gateway_id: GatewayId) -> int | None:
        """The round trip to the gateway and back in microseconds; None while it was not measured."""
        ...
