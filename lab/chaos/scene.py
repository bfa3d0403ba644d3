"""What a case may do: strike processes while the load goes on, and say what it did to the radio edge."""

import asyncio
import signal
import time
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from core.runtime.bus import Bus
from core.runtime.postgres import Pool
from lab.certificates import Authority
from lab.chaos.outcome import CaseFailed
from lab.chaos.stack.processes import Processes
from lab.chaos.stack.proxy import Proxy
from lab.chaos.stack.releases import Upgrade
from lab.chaos.stack.secured import Certified
from lab.gateway.gateway import Uptime
from lab.gateway.mqtt import MqttGateway
from lab.gateway.udp import UdpGateway
from lab.load.load import Load
from lab.radio.clock import now_us
from lab.simulator.account import Kill
from lab.simulator.driver import Fleet

# The load flows before it is disturbed, and after.
LEAD_S = 3.0
REPLACED_WITHIN_S, LOOK_EVERY_S = 60.0, 0.25
SECOND_US = 1_000_000


class Silenced(Protocol):
    """A resolver that may be silent."""

    is_silent: bool
    unanswered: int


@dataclass(slots=True)
class Scene:
    """One case on the stage."""

    processes: Processes
    pool: Pool
    bus: Bus
    load: Load
    seconds: float
    """How long the load lasts."""
    small_disks: dict[str, Path] = field(default_factory=dict[str, Path])
    """Folders of a limited size, by the service whose data they hold."""
    kills: list[Kill] = field(default_factory=list[Kill])
    fleets: list[Fleet] = field(default_factory=list[Fleet])
    """Devices on the air besides the load, for what the load does not do: MQTT."""
    victims: set[str] = field(default_factory=set[str])
    notes: list[str] = field(default_factory=list[str])
    worst_moments: dict[str, Callable[[], AbstractAsyncContextManager[None]]] = field(
        default_factory=dict[str, Callable[[], AbstractAsyncContextManager[None]]]
    )
    """In which block a service is struck, that nothing but its death then ends: in the middle of something."""
    upgrade: Upgrade | None = None
    """What the stack is upgraded to, where it is of a former program."""
    led_us: int | None = None
    """Until when the load was led in: what every device's first uplink costs is not what the case does."""
    mark: float | None = None
    """From when recovery is counted, of the monotonic clock."""
    marks: dict[str, float] = field(default_factory=dict[str, float])
    """The same for each of several faults, by what the report calls it."""
    proxies: dict[str, Proxy] = field(default_factory=dict[str, Proxy])
    """In front of servers, by what they speak."""
    clock: Path | None = None
    """The file by which the wall clocks of some services are set."""
    authority: Authority | None = None
    """It signs the certificate that stations are shown."""
    certified: Certified | None = None
    """A server that services reach by TLS alone."""
    resolver: Silenced | None = None
    """It answers services that find their servers by names."""
    scripted: Load | None = None
    """Another tenant's devices, whose decoder is a script."""
    signs: list[Callable[[], bool]] = field(default_factory=list[Callable[[], bool]])
    """What must hold besides of a stack that has recovered, for those who use it."""
    strikes: int = 0
    recovery_s: Callable[[float], float | None] = lambda _: None
    """How long after an instant of the monotonic clock the chain kept up again; None: not yet."""

    def recover_from_now(self) -> None:
        """The fault has just begun, or has just ended."""
        self.mark = time.monotonic()

    def recover_from(self, what: str) -> None:
        """The same of one fault of several; the report names the one that lasted longest."""
        self.recover_from_now()
        self.marks[what] = time.monotonic()

    async def until_recovered(self) -> None:
        """Return once the chain keeps up since the last fault, or after the longest that this may take."""
        began = self.mark or time.monotonic()
        while self.recovery_s(began) is None and time.monotonic() - began < REPLACED_WITHIN_S:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_EVERY_S)

    @property
    def lasting_s(self) -> float:
        """How long what lasts may last, so that the load goes on for a while after it."""
        return max(1.0, self.seconds - 3 * LEAD_S)

    async def lead(self) -> None:
        """Let the load flow."""
        await asyncio.sleep(LEAD_S)
        self.led_us = self.led_us or now_us()

    def strike(self, service: str, number: signal.Signals) -> dict[str, int]:
        """Signal every replica; returns the pids that were struck."""
        former = self.processes.pids(service)
        if not former:
            raise CaseFailed(f"{service} ne tourne pas")
        self.cut_off(service, self.processes.signal(service, number), number)
        return former

    def cut_off(self, service: str, at_us: int, number: signal.Signals = signal.SIGTERM) -> None:
        """The service was struck at this instant: what is behind it has nobody to send to.

        What is sent to a socket that is kept for the next bridge waits there. Then SIGKILL costs what the one that
        died had read and not published, and SIGTERM nothing: it publishes that.
        """
        self.victims.add(service)
        self.strikes += 1
        behind = self._behind(service)
        kept = self._by_udp() if behind and self._is_kept(service) else frozenset[bytes]()
        if behind - kept:
            self.kills.append(Kill(at_us, behind - kept))
        if kept and number is signal.SIGKILL:
            self.kills.append(Kill(at_us, kept, now_us(), is_kept=True))
        self.recover_from_now()

    @contextmanager
    def cutting_off(self, service: str) -> Generator[None]:
        """The service is asked to stop, and is gone at the end."""
        asked_us, kills = now_us(), len(self.kills)
        self.cut_off(service, asked_us)
        try:
            yield
        finally:
            gone = [kill if kill.is_kept else replace(kill, gone_us=now_us()) for kill in self.kills[kills:]]
            self.kills[kills:] = gone
            self.recover_from_now()

    def _behind(self, service: str) -> frozenset[bytes]:
        """The gateways whose way in leads through this service."""
        of_fleets = [gateway for fleet in self.fleets for gateway in fleet.gateways]
        if service == "gateway_bridge":
            return frozenset([bytes(one.gateway_id) for one in [*self.load.gateways, *of_fleets]])
        if service == "mosquitto":
            return frozenset([one.gateway_id for one in of_fleets if isinstance(one, MqttGateway)])
        return frozenset()

    def _is_kept(self, service: str) -> bool:
        """Whether all that is sent to this service by UDP waits for its next process; a former program's may not.

        Where there are several replicas, what waits for one is older than what another has read meanwhile.
        """
        replicas = self.processes.run.replicas(service) if service == "gateway_bridge" else ()
        return len(replicas) == 1 and (self.upgrade is None or self.processes.keeps_socket(replicas[0]))

    def _by_udp(self) -> frozenset[bytes]:
        """The gateways that send datagrams."""
        of_fleets = [gateway for fleet in self.fleets for gateway in fleet.gateways]
        by_udp = [one for one in [*self.load.gateways, *of_fleets] if isinstance(one, UdpGateway)]
        return frozenset(bytes(one.gateway_id) for one in by_udp)

    @property
    def uptimes(self) -> dict[bytes, Uptime]:
        """When the bridge, or the broker, was known to answer each gateway."""
        of_fleets = {one.gateway_id: one.uptime for fleet in self.fleets for one in fleet.gateways}
        return self.load.uptimes | of_fleets

    async def strike_at_worst(self, service: str) -> dict[str, int]:
        """SIGKILL to every replica, in the middle of what a case has named for this service."""
        async with self.worst_moments.get(service, nullcontext)():
            return self.strike(service, signal.SIGKILL)

    async def until_replaced(self, service: str, former: dict[str, int]) -> None:
        """The supervisor has started others."""
        if not await self.processes.until_replaced(service, former, REPLACED_WITHIN_S):
            self.notes.append(f"{service} n'a pas été relancé en {REPLACED_WITHIN_S:.0f} s")
