"""Receive windows of a device and the choice of gateways (docs/protocols.md, "Matrix", rows 22 and 25 to 28).

Instants are microseconds since 1970; delays count from the end of the uplink.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from lorawan.regions.region import REQUIRED_SNR, Lora, Region

# How long a device waits for a preamble in RX2, at most: eight symbols of SF12.
WINDOW_US = 262_000
# Time that a request to a gateway needs beside the round trip (row 28).
DEADLINE_MARGIN_US = 50_000
# From this margin on one gateway is as good as another, and load may be spread (row 27).
COMFORTABLE_MARGIN_DB = 10.0

_SECOND_US = 1_000_000


class RxParameters(Protocol):
    """What a session knows of its receive windows."""

    @property
    def rx1_delay(self) -> int:
        """Seconds; 0 means 1."""
        ...

    @property
    def rx1_dr_offset(self) -> int:
        """RX1DROffset."""
        ...

    @property
    def rx2_dr(self) -> int:
        """Index of the data rate of RX2."""
        ...

    @property
    def rx2_frequency(self) -> int:
        """Hz."""
        ...


@dataclass(frozen=True, slots=True)
class Window:
    """One receive window of a device."""

    name: Literal["RX1", "RX2", "RXC"]
    """RXC: a class C device listens with the parameters of RX2 whenever it does nothing else."""
    delay_us: int
    """After the end of the uplink; 0 for RXC: at once."""
    frequency: int
    data_rate: int
    spreading_factor: int
    """0 in FSK."""
    bandwidth: int
    """Hz; 0 in FSK."""

    @property
    def immediate(self) -> bool:
        """There is no instant to be kept."""
        return self.name == "RXC"


@dataclass(frozen=True, slots=True)
class GatewayReception:
    """A gateway that received an uplink: dBm and dB."""

    gateway_id: bytes
    rssi: float
    snr: float
    first_window: int | None = 0
    """Which of the device's windows is the first that it can still be asked for; None: it is too late for all."""


def rx_delay_s(rx_delay: int) -> int:
    """The seconds that an RXDelay stands for: 0 means 1 (row 26)."""
    return max(1, rx_delay)


def class_a_windows(
    region: Region, rx: RxParameters, uplink_frequency: int, uplink_data_rate: int | None
) -> tuple[Window, ...]:
    """RX1 and RX2 after an uplink (rows 25 and 26); RX2 alone when the uplink's data rate is not in the plan.

    Raises:
        ValueError: the session's RX1 offset or RX2 data rate is not in the plan.
    """
    delay_us = rx_delay_s(rx.rx1_delay) * _SECOND_US
    rx2 = _window(region, "RX2", delay_us + _SECOND_US, rx.rx2_frequency, rx.rx2_dr)
    if uplink_data_rate is None:
        return (rx2,)
    rx1_data_rate = region.rx1_data_rate(uplink_data_rate, rx.rx1_dr_offset)
    return (_window(region, "RX1", delay_us, uplink_frequency, rx1_data_rate), rx2)


def join_windows(region: Region, uplink_frequency: int, uplink_data_rate: int | None) -> tuple[Window, ...]:
    """The two windows of a join-accept (row 22): offset 0, and RX2 as the region has it, whatever sessions use."""
    rx2_delay_us = region.join_accept_delay2 * _SECOND_US
    rx2 = _window(region, "RX2", rx2_delay_us, region.rx2_frequency, region.rx2_data_rate)
    if uplink_data_rate is None:
        return (rx2,)
    rx1_data_rate = region.rx1_data_rate(uplink_data_rate, 0)
    rx1_delay_us = region.join_accept_delay1 * _SECOND_US
    return (_window(region, "RX1", rx1_delay_us, uplink_frequency, rx1_data_rate), rx2)


def class_c_window(region: Region, rx: RxParameters) -> Window:
    """How a class C device listens between its class A windows (row 45).

    Raises:
        ValueError: the session's RX2 data rate is not in the plan.
    """
    return _window(region, "RXC", 0, rx.rx2_frequency, rx.rx2_dr)


def _window(
    region: Region, name: Literal["RX1", "RX2", "RXC"], delay_us: int, frequency: int, data_rate: int
) -> Window:
    if not 0 <= data_rate < len(region.data_rates):
        raise ValueError(f"{region.name} has no data rate {data_rate}")
    rate = region.data_rates[data_rate]
    spreading_factor, bandwidth = (rate.spreading_factor, rate.bandwidth) if isinstance(rate, Lora) else (0, 0)
    return Window(name, delay_us, frequency, data_rate, spreading_factor, bandwidth)


def latest_useful_us(received_at_us: int, rx_delay: int) -> int:
    """The instant after which a data uplink plans no downlink: its RX2 is over."""
    return received_at_us + (rx_delay_s(rx_delay) + 1) * _SECOND_US + WINDOW_US


def latest_useful_join_us(received_at_us: int, region: Region) -> int:
    """The instant after which a join-request is dropped: the second window has opened without an accept."""
    return received_at_us + region.join_accept_delay2 * _SECOND_US


def still_possible(window: Window, received_at_us: int, now_us: int, round_trip_us: int) -> bool:
    """Whether a request that leaves now reaches the gateway in time for the window (row 28)."""
    if window.immediate:
        return True
    return now_us <= received_at_us + window.delay_us - round_trip_us - DEADLINE_MARGIN_US


def rank_gateways(
    receptions: Iterable[GatewayReception],
    spreading_factor: int,
    spread: Callable[[GatewayReception], float] | None = None,
) -> list[GatewayReception]:
    """The gateways to answer through, best first, each once: by SNR margin, then RSSI, then id (row 27).

    Of those that receive the device well the ones that can still serve an earlier window come first; a gateway
    that can serve none comes after all others.

    Args:
        receptions: one per gateway and antenna; the best of a gateway counts.
        spreading_factor: of the uplink; 0 in FSK.
        spread: orders the gateways whose margin is large enough, lowest first (their load, say), before all
            the others. None: by margin too.
    """
    required = REQUIRED_SNR.get(spreading_factor, 0.0)

    def sort_key(reception: GatewayReception) -> tuple[bool, bool, int, float, float, float, bytes]:
        margin = reception.snr - required
        is_late = reception.first_window is None
        comfortable = spread is not None and margin >= COMFORTABLE_MARGIN_DB
        window = reception.first_window or 0 if comfortable else 0
        load = spread(reception) if spread is not None and comfortable else 0.0
        return (is_late, not comfortable, window, load, -margin, -reception.rssi, reception.gateway_id)

    ranked: dict[bytes, GatewayReception] = {}
    for heard in sorted(receptions, key=sort_key):
        ranked.setdefault(heard.gateway_id, heard)
    return list(ranked.values())
