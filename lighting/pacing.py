"""When the frames of a campaign go out at each gateway, and when the last of them will have. Pure.

A gateway that transmits hears nothing. So a campaign takes a small share of each gateway's hour, sends in trains
of some seconds with as long to listen after each, and never at once at two gateways that hear the same devices:
what one misses, the other hears. What is said of the end before a campaign begins comes from playing the same
decisions in advance.

No clock in here: `now_us` is an argument. All times and durations are integer microseconds.
"""

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from lighting.commands import AGAIN_AFTER
from lorawan.airtime import HourLedger
from lorawan.regions.region import HOUR_US

SECOND_US = 1_000_000
# Percent of any hour that campaigns may take of a gateway, and what an emergency may: the band's own limit.
SHARE = 5
EMERGENCY_SHARE = 10
# Clocks answer within ten seconds (docs/profil-horloge.md). Most of the answers to a train of three seconds come
# when it is over; of one of ten seconds, half of those that no other gateway hears would be lost.
TRAIN_US = 3 * SECOND_US
LISTEN_US = 11 * SECOND_US
# A frame goes out some time after its turn: due ones are looked for each second, and go the way to the gateway.
LATE_US = 2 * SECOND_US
# A class C downlink has the radio to itself some milliseconds longer than its frame (lorawan.airtime).
BETWEEN_FRAMES_US = 85_000
# After each attempt that nothing proves, the command waits so long for its turn to be sent again.
AGAIN_AFTER_US = tuple(again_after // timedelta(microseconds=1) for again_after in AGAIN_AFTER)


class PacedFrame(NamedTuple):
    """A command that waits for its turn. `command` is its caller's name for it."""

    command: int
    gateway: str
    airtime_us: int


@dataclass(frozen=True, slots=True)
class Budget:
    """What a gateway has left of its share of the hour."""

    used_us: int
    left_us: int


@dataclass(slots=True)
class _Radio:
    ledger: HourLedger
    train_until_us: int = 0
    listens_until_us: int = 0


class Pacer:
    """The gateways that one campaign sends through; it lives in memory, and is restored from what was sent."""

    def __init__(self, neighbours: Mapping[str, Collection[str]], share: int = SHARE) -> None:
        """Radios that campaigns have not used for an hour.

        Args:
            neighbours: of each gateway, those that hear the same devices.
            share: percent of any hour that may be used; of an emergency `EMERGENCY_SHARE`, which does not wait
                for neighbours either, and listens only as long as it must.
        """
        self._neighbours = neighbours
        self._limit_us = HOUR_US * share // 100
        self._is_patient = share <= SHARE
        self._radios: dict[str, _Radio] = defaultdict(lambda: _Radio(HourLedger()))

    def restore(self, sent: Iterable[tuple[str, int, int]]) -> None:
        """Counts what went out before: gateway, start and time on air."""
        for gateway, start_us, airtime_us in sent:
            self._count(gateway, start_us, airtime_us)

    def release(
        self,
        now_us: int,
        waiting: Mapping[str, Sequence[PacedFrame]],
        left_us: Mapping[str, int] | None = None,
    ) -> list[tuple[PacedFrame, int]]:
        """The frames whose turn it is and when each starts, first come first served at each gateway.

        They are counted from now on. The gateway with the most to send begins: it decides when all is over.
        `left_us` is what each has to send, where `waiting` is but a part of it.
        """
        released: list[tuple[PacedFrame, int]] = []
        left_us = left_us or {gateway: _airtime_of(frames) for gateway, frames in waiting.items()}
        for gateway in sorted(waiting, key=lambda one: (-left_us.get(one, 0), one)):
            if waiting[gateway] and self._is_free(gateway, now_us):
                released += self._train(gateway, now_us, waiting[gateway])
        return released

    def budget(self, gateway: str, now_us: int) -> Budget:
        """What is left of a gateway's share of the hour that ends now."""
        ledger = self._radios[gateway].ledger
        ledger.forget(now_us)
        return Budget(ledger.used_us, max(0, self._limit_us - ledger.used_us))

    def next_us(self, now_us: int, waiting: Mapping[str, Sequence[PacedFrame]]) -> int | None:
        """The first instant after `now_us` at which `release` may have an answer; None: it never will."""
        instants = [
            self._may_send_at(gateway, now_us, frames[0].airtime_us)
            for gateway, frames in waiting.items()
            if frames
        ]
        return min((max(at, now_us + 1) for at in instants if at is not None), default=None)

    def busy(self, now_us: int) -> list[str]:
        """Gateways that send nothing now, whatever waits: they transmit or listen, or a neighbour transmits."""
        known = {*self._neighbours, *self._radios}
        return sorted(gateway for gateway in known if not self._is_free(gateway, now_us))

    def busy_until_us(self, gateway: str) -> int:
        """When the last frame that was released at a gateway has been sent."""
        return self._radios[gateway].train_until_us

    def _train(self, gateway: str, now_us: int, frames: Sequence[PacedFrame]) -> list[tuple[PacedFrame, int]]:
        radio = self._radios[gateway]
        radio.ledger.forget(now_us)
        at_us, train = now_us, list[tuple[PacedFrame, int]]()
        for frame in frames:
            if train and at_us + frame.airtime_us > now_us + TRAIN_US:
                break
            if radio.ledger.lawful_at(at_us, frame.airtime_us, self._limit_us) != at_us:
                break
            self._count(gateway, at_us, frame.airtime_us)
            train.append((frame, at_us))
            at_us += frame.airtime_us + BETWEEN_FRAMES_US
        return train

    def _count(self, gateway: str, start_us: int, airtime_us: int) -> None:
        radio = self._radios[gateway]
        radio.ledger.record_span(start_us, airtime_us)
        radio.train_until_us = max(radio.train_until_us, start_us + airtime_us)
        listens_us = LISTEN_US if self._is_patient else BETWEEN_FRAMES_US
        radio.listens_until_us = radio.train_until_us + listens_us

    def _is_free(self, gateway: str, now_us: int) -> bool:
        if self._radios[gateway].listens_until_us > now_us:
            return False
        if not self._is_patient:
            return True
        return all(self._radios[one].train_until_us + LATE_US <= now_us for one in self._others(gateway))

    def _may_send_at(self, gateway: str, now_us: int, airtime_us: int) -> int | None:
        radio = self._radios[gateway]
        at = max(now_us, radio.listens_until_us)
        if self._is_patient:
            at = max([at, *(self._radios[one].train_until_us + LATE_US for one in self._others(gateway))])
        return radio.ledger.lawful_at(at, airtime_us, self._limit_us)

    def _others(self, gateway: str) -> Iterable[str]:
        return (one for one in self._neighbours.get(gateway, ()) if one in self._radios and one != gateway)


def predict(
    pacer: Pacer, now_us: int, frames: Iterable[PacedFrame], measured: Mapping[str, float], *, loss: float = 0.0
) -> dict[str, int]:
    """When the last frame of each gateway will have gone out, repetitions of what is lost included.

    Args:
        pacer: what was sent before; it is used up.
        now_us: when the first may go out.
        frames: those that are to go out.
        measured: of each gateway, the share of commands of which the command or its echo is lost.
        loss: that share at gateways of which nothing was measured.
    """
    waiting: dict[str, deque[PacedFrame]] = defaultdict(deque)
    for frame in frames:
        waiting[frame.gateway].append(frame)
    # What is lost comes again as whole frames; parts of one are carried over to the next.
    loss_sums: dict[str, float] = defaultdict(float)
    attempts: dict[int, int] = defaultdict(int)
    again: list[tuple[int, PacedFrame]] = []
    ends: dict[str, int] = {}
    while True:
        for _, frame in (due := [one for one in again if one[0] <= now_us]):
            waiting[frame.gateway].append(frame)
        again = [one for one in again if one not in due]
        for frame, _ in pacer.release(now_us, waiting):
            waiting[frame.gateway].remove(frame)
            ends[frame.gateway] = pacer.busy_until_us(frame.gateway)
            attempts[frame.command] += 1
            loss_sums[frame.gateway] += measured.get(frame.gateway, loss)
            if loss_sums[frame.gateway] >= 1:
                loss_sums[frame.gateway] -= 1
                if attempts[frame.command] <= len(AGAIN_AFTER_US):
                    again_us = ends[frame.gateway] + AGAIN_AFTER_US[attempts[frame.command] - 1]
                    again.append((again_us, frame))
        then = [at for at, _ in again]
        soonest = pacer.next_us(now_us, waiting)
        if soonest is not None:
            then.append(soonest)
        if not then:
            return ends
        now_us = max(min(then), now_us + 1)


def _airtime_of(frames: Iterable[PacedFrame]) -> int:
    return sum(frame.airtime_us for frame in frames)
