"""Time on air, and the scheduler of one gateway's radio: one transmission at a time, each hour within its limit.

No clock in here: `now_us` is an argument of every method. All times and durations are integer microseconds.
"""

from bisect import bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal, NamedTuple

from lorawan.regions.region import HOUR_US, DataRate, Lora, Region, SubBand

PREAMBLE_SYMBOLS = 8
# From this symbol time on, low data rate optimisation is in use: SF11 and SF12 at 125 kHz.
LOW_DATA_RATE_SYMBOL_US = 16_000
FSK_OVERHEAD = 11  # Octets: preamble 5, sync word 3, length 1, CRC 2.

# An immediate transmission starts this long after it is asked for: the way to the gateway, and its queue (40 ms).
LEAD_US = 50_000
# Kept free between two transmissions: a forwarder needs 1.5 ms to start and a margin of 1 ms.
GUARD_US = 5_000
# The gateway itself decides when an immediate frame starts, some 35 ms after it has it, and the way there takes
# its time: the radio is kept free for this much before and after.
IMMEDIATE_SLACK_US = 40_000


def lora_airtime_us(length: int, spreading_factor: int, bandwidth: int, *, crc: bool, coding_rate: int = 1) -> int:
    """Time on air of a LoRa frame with explicit header and 8 preamble symbols (SX1276 data sheet, 4.1.1.7).

    Args:
        length: octets of PHYPayload.
        spreading_factor: 7 to 12.
        bandwidth: Hz.
        crc: uplinks have one, downlinks do not.
        coding_rate: 1 (4/5) to 4 (4/8).

    Raises:
        ValueError: the spreading factor is not one of LoRaWAN's.
    """
    if spreading_factor not in range(7, 13):
        raise ValueError(f"a spreading factor is 7 to 12, not {spreading_factor}")
    chips_us = (1 << spreading_factor) * 1_000_000  # The symbol time, times the bandwidth.
    bits_per_symbol = 4 * (spreading_factor - 2 * (chips_us >= LOW_DATA_RATE_SYMBOL_US * bandwidth))
    bits = max(0, 8 * length - 4 * spreading_factor + 28 + 16 * crc)
    symbols = 8 + -(-bits // bits_per_symbol) * (coding_rate + 4)
    quarter_symbols = 4 * (PREAMBLE_SYMBOLS + symbols) + 17
    return -(-quarter_symbols * chips_us // (4 * bandwidth))


def fsk_airtime_us(length: int, bit_rate: int) -> int:
    """Time on air of an FSK frame of `length` octets of PHYPayload; bit/s."""
    return -(-(FSK_OVERHEAD + length) * 8_000_000 // bit_rate)


def downlink_airtime_us(length: int, data_rate: DataRate) -> int:
    """Time on air of a downlink of `length` octets of PHYPayload.

    Raises:
        ValueError: the spreading factor is not one of LoRaWAN's.
    """
    if isinstance(data_rate, Lora):
        return lora_airtime_us(length, data_rate.spreading_factor, data_rate.bandwidth, crc=False)
    return fsk_airtime_us(length, data_rate.bit_rate)


class Priority(IntEnum):
    """What a transmission is for: the lower, the more of the duty cycle it may use up."""

    JOIN_OR_ACK = 0
    COMMAND = 1
    ROUTINE = 2


# Percent of a sub-band's hour up to which a transmission of this priority is granted; all of them count: the last
# tenth is left to joins and acknowledgements, and two tenths more to commands.
SHARES = {Priority.JOIN_OR_ACK: 100, Priority.COMMAND: 90, Priority.ROUTINE: 70}

Status = Literal["COLLISION_PACKET", "DUTY_CYCLE_OVERFLOW", "TOO_LATE", "TX_FREQ"]


@dataclass(frozen=True, slots=True)
class Granted:
    """The radio is free from `start_us` on; an immediate frame is handed to the gateway the lead before that."""

    start_us: int
    airtime_us: int
    frequency: int


@dataclass(frozen=True, slots=True)
class TransmitRejected:
    """The radio is not free, or the law forbids it. `fits_at_us`: when it would fit; 0: never, or too late."""

    status: Status
    fits_at_us: int = 0


class Transmission(NamedTuple):
    """What a radio may have transmitted, as the ledger keeps it."""

    start_us: int
    airtime_us: int
    frequency: int


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of a sub-band's hour is used up."""

    sub_band: SubBand
    used_us: int


class _Span(NamedTuple):
    start_us: int
    end_us: int


class HourLedger:
    """What was transmitted in the last hour, and what is granted for later, by the end."""

    def __init__(self) -> None:
        """Nothing was transmitted in the last hour."""
        self.used_us = 0
        self._spans: list[_Span] = []

    def record_span(self, start_us: int, airtime_us: int) -> None:
        """Counts a transmission."""
        insort(self._spans, _Span(start_us, start_us + airtime_us), key=_end_of)
        self.used_us += airtime_us

    def remove_span(self, start_us: int, airtime_us: int) -> None:
        """Counts a transmission no longer."""
        span = _Span(start_us, start_us + airtime_us)
        if span in self._spans:
            self._spans.remove(span)
            self.used_us -= airtime_us

    def forget(self, now_us: int) -> None:
        """Drops what ended more than an hour ago."""
        old = bisect_right(self._spans, now_us - HOUR_US, key=_end_of)
        self.used_us -= sum(span.end_us - span.start_us for span in self._spans[:old])
        del self._spans[:old]

    def shift(self, by_us: int) -> None:
        """Moves all of it, as the clock was."""
        self._spans = [_Span(start_us + by_us, end_us + by_us) for start_us, end_us in self._spans]

    def lawful_at(self, earliest_us: int, airtime_us: int, limit_us: int) -> int | None:
        """The first instant at which an hour of `limit_us` has room; None when it never has for a frame so long.

        Every window of an hour that touches a transmission starting at `at` lies after `at - HOUR_US`. When all
        that ends after that instant adds up to less than the limit, what is granted for later included, so does
        every such window.
        """
        if airtime_us > limit_us:
            return None
        used, at = self.used_us, earliest_us
        for span in self._spans:
            if span.end_us > at - HOUR_US:
                if used + airtime_us <= limit_us:
                    break
                at = span.end_us + HOUR_US
            used -= span.end_us - span.start_us
        return at


class Scheduler:
    """One gateway's radio. `now_us` never decreases from call to call, but for a clock that is set: `shift`.

    The ledger counts a transmission whole as long as any of it is less than an hour old, and what is granted for
    later as well: a little more than the law asks, and never less.
    """

    def __init__(self, region: Region) -> None:
        """A radio that has been silent for an hour."""
        self._region = region
        self._ledgers = {band: HourLedger() for band in region.sub_bands}
        self._radio: list[_Span] = []

    def restore(self, now_us: int, entries: Iterable[Transmission]) -> None:
        """Restores what may have been transmitted in the last hour, or is still to come; drops older entries."""
        for start_us, airtime_us, frequency in entries:
            band = self._region.sub_band_of(frequency)
            insort(self._radio, _Span(start_us, start_us + airtime_us))
            if band is not None:
                self._ledgers[band].record_span(start_us, airtime_us)
        self._forget(now_us)

    def request(
        self,
        now_us: int,
        *,
        start_us: int | None,
        airtime_us: int,
        frequency: int,
        priority: Priority,
        latest_start_us: int | None = None,
        lead_us: int = LEAD_US,
    ) -> Granted | TransmitRejected:
        """Asks for the radio; what is granted is in the ledger from then on.

        Args:
            now_us: the time.
            start_us: when it must start (a receive window); None for the next free instant.
            airtime_us: how long it lasts.
            frequency: Hz.
            priority: decides how much of the duty cycle it may use up.
            latest_start_us: until when the next free instant is useful; None: at once or not at all.
            lead_us: no start before `now_us + lead_us`: the way to the gateway, and its queue.
        """
        self._forget(now_us)
        band = self._region.sub_band_of(frequency)
        if band is None:
            return TransmitRejected("TX_FREQ")
        soonest = now_us + lead_us
        earliest = soonest if start_us is None else start_us
        latest = earliest if start_us is not None or latest_start_us is None else latest_start_us
        if earliest < soonest or latest < earliest:
            return TransmitRejected("TOO_LATE")
        limit_us = band.hourly_airtime_us * SHARES[priority] // 100
        lawful = self._ledgers[band].lawful_at(earliest, airtime_us, limit_us)
        if lawful is None:
            return TransmitRejected("DUTY_CYCLE_OVERFLOW")
        # Later is never less lawful, so that the radio's next gap after that is the answer.
        slack = IMMEDIATE_SLACK_US if start_us is None else 0
        fits_at = self._free_at(lawful - slack, airtime_us + 2 * slack) + slack
        if fits_at > latest:
            return TransmitRejected("DUTY_CYCLE_OVERFLOW" if lawful > latest else "COLLISION_PACKET", fits_at)
        self._ledgers[band].record_span(fits_at, airtime_us)
        insort(self._radio, _padded(_Span(fits_at, fits_at + airtime_us), slack))
        return Granted(fits_at, airtime_us, frequency)

    def release(self, granted: Granted) -> None:
        """Gives back what the gateway certainly did not transmit: an error was its answer, not a missing one."""
        span = _Span(granted.start_us, granted.start_us + granted.airtime_us)
        band = self._region.sub_band_of(granted.frequency)
        for reserved in (span, _padded(span, IMMEDIATE_SLACK_US)):
            if reserved in self._radio:
                self._radio.remove(reserved)
                break
        if band is not None:
            self._ledgers[band].remove_span(granted.start_us, granted.airtime_us)

    def shift(self, by_us: int) -> None:
        """The clock was set by so much, or back: what was transmitted is as long ago as before."""
        self._radio = [_Span(start_us + by_us, end_us + by_us) for start_us, end_us in self._radio]
        for ledger in self._ledgers.values():
            ledger.shift(by_us)

    def usage(self, now_us: int) -> tuple[Usage, ...]:
        """What is used up of each sub-band's hour, with what is granted for later."""
        self._forget(now_us)
        return tuple(Usage(band, ledger.used_us) for band, ledger in self._ledgers.items())

    def _forget(self, now_us: int) -> None:
        self._radio = [span for span in self._radio if span.end_us + GUARD_US > now_us]
        for ledger in self._ledgers.values():
            ledger.forget(now_us)

    def _free_at(self, earliest_us: int, airtime_us: int) -> int:
        """The start of the first gap, from `earliest_us` on, that holds the transmission and its guard times."""
        at = earliest_us
        for span in self._radio:
            if at + airtime_us + GUARD_US <= span.start_us:
                break
            at = max(at, span.end_us + GUARD_US)
        return at


def _padded(span: _Span, slack_us: int) -> _Span:
    return _Span(span.start_us - slack_us, span.end_us + slack_us)


def _end_of(span: _Span) -> int:
    return span.end_us
