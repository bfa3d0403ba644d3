"""What tests see of a gateway, whatever its protocol."""

from dataclasses import dataclass
from typing import Any, Protocol

from lorawan.identifiers import GatewayId


@dataclass(frozen=True, slots=True)
class Command:
    """A request to transmit, as a gateway understands it. `at` is the counter, or the delay after `context`."""

    phy_payload: bytes
    frequency: int
    spreading_factor: int
    power: int | None
    immediate: bool
    delay_us: int
    reference: Any


@dataclass(frozen=True, slots=True)
class Traits:
    """In what the frontends differ, as data."""

    name: str
    context: bytes  # Of the uplinks that the station receives.
    channel: int  # On which it receives them, as far as it says.
    powers: tuple[int | None, int | None]  # Asked for in RX1 and RX2, an ERP or an EIRP; None: none is.
    refuses: bool  # It can say no, and be asked for another window; otherwise it is given both at once.
    acknowledges_early: bool  # Before the frame is in the stream.


class Station(Protocol):
    """One gateway."""

    traits: Traits
    gateway_id: GatewayId

    async def receive(
        self, *phy_payloads: bytes, time_us: int | None = None, gps_time_us: int | None = None
    ) -> None: ...

    async def speak(self) -> None: ...

    async def say(self, octets: bytes) -> None: ...

    async def command(self) -> Command: ...

    async def answer(self, command: Command, status: str) -> None: ...
