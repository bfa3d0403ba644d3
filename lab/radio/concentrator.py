"""What a concentrator can and cannot do: one antenna, one transmission at a time, deaf meanwhile. Pure."""

from dataclasses import dataclass, field

from lab.radio.transmission import SECOND_US, Transmission
from lorawan.regions.eu868 import EU868

HOUR_US = 3_600 * SECOND_US
COUNTER = 1 << 32
# A concentrator needs this much time to prepare a transmission (docs/radio.md, "What a concentrator needs").
LEAD_US = 32_500
# Beyond this a counter value is taken for one that has passed.
HORIZON_US = 512 * SECOND_US
# An uplink is looked at when it ends; the longest, SF12 with 51 octets, began this long before.
LONGEST_UPLINK_US = 3 * SECOND_US


@dataclass(slots=True)
class RadioAccount:
    """What the gateway's radio did, and what it should never have been asked."""

    emitted: int = 0
    emitted_immediate: int = 0
    refused: dict[str, int] = field(default_factory=dict[str, int])
    duty_cycle_exceeded: int = 0
    deaf: int = 0  # Uplinks missed because the radio was transmitting.
    collided: int = 0  # Uplinks missed because another was on the same channel at the same spreading factor.


@dataclass(slots=True)
class Concentrator:
    """Rejects what it is asked too late, or on top of another transmission; times are microseconds."""

    account: RadioAccount
    offset_us: int  # The counter's value at the epoch of the simulation.
    busy_until_us: int = 0  # The end of the last transmission that was queued.
    _queue: list[Transmission] = field(default_factory=list[Transmission])
    _ledger: list[Transmission] = field(default_factory=list[Transmission])

    def counter(self, at_us: int) -> int:
        """The 32-bit microsecond counter at an instant."""
        return (at_us + self.offset_us) % COUNTER

    def instant(self, counter: int, now_us: int) -> int:
        """The instant nearest to `now_us` at which the counter shows this value."""
        ahead = (counter - self.counter(now_us)) % COUNTER
        return now_us + (ahead if ahead < COUNTER // 2 else ahead - COUNTER)

    def is_transmitting(self, start_us: int, end_us: int) -> bool:
        """Whether the radio transmits at any moment between these two: then it receives nothing."""
        return any(own.start_us < end_us and start_us < own.end_us for own in self._queue)

    def queue_transmission(self, transmission: Transmission, now_us: int) -> str:
        """Queue a transmission; returns the TX_ACK's word, NONE when it will go out."""
        self._queue = [own for own in self._queue if own.end_us > now_us - LONGEST_UPLINK_US]
        refusal = self._rejection(transmission, now_us)
        if refusal is not None:
            self.account.refused[refusal] = self.account.refused.get(refusal, 0) + 1
            return refusal
        self._queue.append(transmission)
        self.busy_until_us = max(self.busy_until_us, transmission.end_us)
        self._record_duty_cycle(transmission)
        self.account.emitted += 1
        return "NONE"

    def _rejection(self, transmission: Transmission, now_us: int) -> str | None:
        if transmission.start_us < now_us or transmission.start_us > now_us + HORIZON_US:
            return "TOO_EARLY"  # The counter is taken modulo 2^32: the past looks like the far future.
        if transmission.start_us < now_us + LEAD_US:
            return "TOO_LATE"
        if self.is_transmitting(transmission.start_us, transmission.end_us):
            return "COLLISION_PACKET"
        return None

    def _record_duty_cycle(self, transmission: Transmission) -> None:
        self._ledger = [old for old in self._ledger if old.end_us > transmission.end_us - HOUR_US]
        self._ledger.append(transmission)
        band = EU868.sub_band_of(transmission.frequency)
        used = sum(old.airtime_us for old in self._ledger if EU868.sub_band_of(old.frequency) == band)
        if band is None or used > band.duty_cycle * HOUR_US:
            self.account.duty_cycle_exceeded += 1
