"""Deduplicates receptions of one PHYPayload within a window, on the stream's clock.

Pure: the same messages in the same order give the same groups, however they were fetched.
"""

from collections.abc import Iterable, Sequence
from math import isfinite

import msgspec

from core.messages.frames import GatewayFrame
from core.model.instants import AHEAD_AT_MOST_US
from lorawan.gateway.semtech_rxpk import UNKNOWN_RSSI, UNKNOWN_SNR

# As the bridge has it for a gateway's clock.
CLOCK_TOLERANCE_US = 30_000_000
_END_OF_TIME_US = 1 << 62


class Group(msgspec.Struct):
    """The receptions of one PHYPayload within one window, in stream order; the first decides the uplink's time."""

    phy_payload: bytes
    opened_at_us: int
    receptions: list[GatewayFrame] = []
    sequences: list[int] = []
    """The stream sequences of the messages that carry these receptions, each once."""

    @property
    def first(self) -> GatewayFrame:
        """The reception with the lowest stream sequence (docs/architecture.md)."""
        return self.receptions[0]

    @property
    def time_us(self) -> int:
        """When the frame was received: by the first reception that agrees with our clock, else by the first.

        So one gateway with a wrong clock misdates only what no other gateway has received.
        """
        copies, latest_us = self.receptions, self.opened_at_us + AHEAD_AT_MOST_US
        for copy in copies:
            if abs(copy.received_at_us - copy.time_us) <= CLOCK_TOLERANCE_US and copy.time_us <= latest_us:
                return copy.time_us
        return self._not_ahead(copies[0].time_us)

    @property
    def received_at_us(self) -> int:
        """When the bridge received the first reception, by the bridge's clock as long as that is not ahead."""
        return self._not_ahead(self.first.received_at_us)

    def _not_ahead(self, instant_us: int) -> int:
        """What is published was received before: where a bridge says otherwise, the stream's clock is right.

        A bridge whose clock is behind looks like one that has kept its frames while the bus was away.
        """
        return instant_us if instant_us <= self.opened_at_us + AHEAD_AT_MOST_US else self.opened_at_us

    @property
    def live_at_us(self) -> int:
        """The instant from which the device's windows count: the latest of the receptions' own times."""
        return max(min(copy.time_us, copy.received_at_us) for copy in self.receptions)


class Deduplication:
    """The open windows of one shard. All instants are the stream's own, in microseconds."""

    def __init__(self, window_us: int) -> None:
        self._window_us = window_us
        self._latest_us = 0  # When the last message was published.
        self._open: dict[bytes, Group] = {}  # In the order of opening, hence of closing.
        self._closed: list[Group] = []

    def add_frames(self, sequence: int, published_at_us: int, frames: Iterable[GatewayFrame]) -> int:
        """Sort one message's frames into windows; returns how many groups the message is part of.

        Windows that ended before the message was published are closed first. So are all of them when the stream's
        clock was set back: by the new one they would not end for as long, nor would those that open after them.
        """
        was_set_back = published_at_us < self._latest_us - self._window_us
        self.close_until(_END_OF_TIME_US if was_set_back else published_at_us)
        self._latest_us = published_at_us
        joined = 0
        for frame in frames:
            phy_payload = frame.phy_payload
            group = self._open.get(phy_payload)
            if group is None:
                self._open[phy_payload] = Group(phy_payload, published_at_us, [frame], [sequence])
                joined += 1
                continue
            group.receptions.append(frame)
            if group.sequences[-1] != sequence:
                group.sequences.append(sequence)
                joined += 1
        return joined

    def close_until(self, now_us: int) -> None:
        """Close every window that has ended at this instant."""
        ended = now_us - self._window_us
        closing: list[Group] = []
        for group in self._open.values():
            if group.opened_at_us > ended:
                break
            closing.append(group)
        for group in closing:
            del self._open[group.phy_payload]
        self._closed += closing

    def take_closed(self) -> list[Group]:
        """The closed groups in the order of their first receptions; each is returned once."""
        closed, self._closed = self._closed, []
        return closed

    @property
    def next_close_us(self) -> int | None:
        """When the first open window ends."""
        group = next(iter(self._open.values()), None)
        return None if group is None else group.opened_at_us + self._window_us


def best_receptions(receptions: Sequence[GatewayFrame]) -> list[GatewayFrame]:
    """The best reception by SNR, then RSSI, of each gateway and antenna, in the order in which they first came.

    On another frequency from the same antenna it is a mirror of the radio's filter (docs/protocols.md, row 14).
    """
    if len(receptions) == 1:
        return [_comparable(receptions[0])]
    best: dict[tuple[bytes, int], GatewayFrame] = {}
    for copy in map(_comparable, receptions):
        key = (copy.gateway_id, copy.antenna)
        known = best.get(key)
        if known is None or (copy.snr, copy.rssi) > (known.snr, known.rssi):
            best[key] = copy
    return list(best.values())


def _comparable(reception: GatewayFrame) -> GatewayFrame:
    """Replaces an RSSI or SNR that is no number: it compares with nothing, and JSON cannot have it."""
    if isfinite(reception.snr) and isfinite(reception.rssi):
        return reception
    snr, rssi = (
        reception.snr if isfinite(reception.snr) else UNKNOWN_SNR,
        reception.rssi if isfinite(reception.rssi) else UNKNOWN_RSSI,
    )
    return msgspec.structs.replace(reception, snr=snr, rssi=rssi)
