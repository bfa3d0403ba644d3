"""A session's MAC state: what the network knows of a device's MAC layer and has asked of it. Pure data.

A request that was not answered is asked again. One that was rejected, or accepted and not followed, pauses, twice
as long each time and a day at most, and is asked again.
"""

from collections.abc import Iterable
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from lorawan.adr import NO_BOUNDS, NO_LIMITS, Bounds, Limits, Sample
from lorawan.commands.rx_param_setup import RxParamSetupReq
from lorawan.identifiers import DevAddr
from lorawan.regions.region import Region
from lorawan.session import Session

_SECOND_US = 1_000_000
HOUR_US = 3600 * _SECOND_US
DAY_US = 24 * HOUR_US
# Requests in a row that may stay without an answer before they count as a failure.
ATTEMPTS = 3
FIRST_PAUSE_US = HOUR_US
LONGEST_PAUSE_US = DAY_US
# A device that rejected a data rate or a power is believed for this long: firmware changes, and bits flip.
LIMITS_HOLD_US = 7 * DAY_US
UNKNOWN_DATA_RATE = -1


class MacPolicy(Struct, frozen=True):
    """What the network wants of a device; it is asked for nothing else."""

    region: Region
    rx1_delay: int = 1  # Seconds.
    rx_params: RxParamSetupReq | None = None  # None: as the session was opened.
    max_duty_cycle: int = 0  # 1 / 2^n of the air; 0: no limit but the law's.
    status_every_us: int = DAY_US  # 0: never.
    adr: bool = True
    adr_bounds: Bounds = NO_BOUNDS
    far_rx1_delay: int = 5  # For devices whose gateways are far away; at most `rx1_delay`: the same for all.

    def rx1_delay_of(self, state: "MacState", now_us: int) -> int:
        """The delay that a device is to have, in seconds."""
        return max(self.rx1_delay, self.far_rx1_delay) if now_us < state.far_until_us else self.rx1_delay


class Asked(Struct, frozen=True, array_like=True, gc=False):
    """How the asking of one command goes."""

    cid: int
    requests: bytes = b""  # As they went out last, all of this command; empty: nothing is outstanding.
    attempts: int = 0  # Requests in a row without an answer.
    failures: int = 0  # Rejections, and requests without an answer, in a row.
    not_before_us: int = 0
    agreed_data_rate: int = UNKNOWN_DATA_RATE  # That the device accepted and was not yet heard at.

    def again(self, requests: bytes) -> Self:
        """Asked once more."""
        return replace(self, requests=requests, attempts=self.attempts + 1, agreed_data_rate=UNKNOWN_DATA_RATE)

    def agreed(self, data_rate: int) -> Self:
        """The device accepted; its failures are forgotten once it is heard to have moved."""
        return replace(self, requests=b"", attempts=0, agreed_data_rate=data_rate)

    def unanswered(self, now_us: int) -> Self:
        """The device spoke and did not answer: ask again, and pause after the third time."""
        if self.attempts >= ATTEMPTS:
            return self.after_rejection(now_us)
        return replace(self, requests=b"")

    def after_rejection(self, now_us: int) -> Self:
        """Not before a pause, which doubles with each failure."""
        pause_us = min(FIRST_PAUSE_US << min(self.failures, 10), LONGEST_PAUSE_US)
        return replace(
            self,
            requests=b"",
            attempts=0,
            failures=self.failures + 1,
            not_before_us=now_us + pause_us,
            agreed_data_rate=UNKNOWN_DATA_RATE,
        )


class MacState(Struct, frozen=True, gc=False, omit_defaults=True):
    """The MAC layer of a session's device, as its answers show it. What equals its default is not stored."""

    channels: int
    """The channels that the device has, as a mask over the region's uplink channels."""
    status_due_us: int = 0
    """When the device is to be asked for its battery next."""
    tx_power: int = 0
    nb_trans: int = 1
    max_duty_cycle: int = 0
    limits: Limits = NO_LIMITS
    limits_until_us: int = 0
    data_rate: int = UNKNOWN_DATA_RATE
    """The data rate at which `history` was received; unknown while ADR is off."""
    history: tuple[Sample, ...] = ()
    asked: tuple[Asked, ...] = ()
    far_until_us: int = 0
    """Until when its gateways count as far away (`lorawan.rx_delay`)."""

    @property
    def adr(self) -> bool:
        """Whether the device leaves to us how it sends, and we decide it."""
        return self.data_rate != UNKNOWN_DATA_RATE

    def asked_for(self, cid: int) -> Asked:
        """How the asking of this command goes."""
        return next((asked for asked in self.asked if asked.cid == cid), Asked(cid))

    def with_asked(self, entries: Iterable[Asked]) -> Self:
        """Note these; of a command of which there is nothing to say nothing is kept."""
        kept = {asked.cid: asked for asked in self.asked} | {asked.cid: asked for asked in entries}
        return replace(self, asked=tuple(asked for asked in kept.values() if asked != Asked(asked.cid)))

    def limits_at(self, now_us: int) -> Limits:
        """What the device is believed to take."""
        return self.limits if now_us < self.limits_until_us else NO_LIMITS

    def differs_from(self, before: Self) -> bool:
        """Whether it is worth a write: a history alone is not, it comes again with the next uplinks."""
        return replace(self, history=()) != replace(before, history=())


def all_channels(region: Region) -> int:
    """The mask of a device that has every channel of the plan, as a join-accept's CFList makes it."""
    return (1 << len(region.uplink_channels)) - 1


def default_channels(region: Region) -> int:
    """The mask of a device of which no more is known than that it speaks in this region."""
    return (1 << len(region.default_channels)) - 1


def first_state(region: Region, dev_addr: DevAddr, now_us: int, *, joined: bool) -> MacState:
    """Of a session about which nothing was stored yet; `joined`: it began with a join-accept of ours.

    The first question about the battery comes within a day, at an instant that the address decides: after a power
    cut thousands of devices join at once, and must not be asked at once.
    """
    channels = all_channels(region) if joined else default_channels(region)
    share_us = int.from_bytes(dev_addr[1:], "big") * DAY_US >> 24
    due_us = now_us - now_us % DAY_US + share_us
    return MacState(channels, due_us if due_us > now_us else due_us + DAY_US)


def is_quiet(state: MacState, session: Session, policy: MacPolicy, now_us: int) -> bool:
    """Whether there is nothing to ask of a device that says nothing itself: so it is with nearly every uplink."""
    return (
        not state.asked
        and session.rx1_delay == policy.rx1_delay_of(state, now_us)
        and (now_us < state.status_due_us or not policy.status_every_us)
        and state.channels == all_channels(policy.region)
        and state.max_duty_cycle == policy.max_duty_cycle
        and (policy.rx_params is None or rx_params_of(session) == policy.rx_params)
    )


def rx_params_of(session: Session) -> RxParamSetupReq:
    """The receive windows of a session, as the command that would set them."""
    return RxParamSetupReq(session.rx1_dr_offset, session.rx2_dr, session.rx2_frequency)
