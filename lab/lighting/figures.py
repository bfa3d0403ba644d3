"""What a campaign is judged by: when all was proved, what gateways have sent, and what they missed."""

import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from lab.lighting.area import Area
from lab.lighting.campaign import CampaignState, Outcome
from lab.radio.concentrator import RadioAccount
from lab.radio.medium import RadioMedium
from lorawan.airtime import lora_airtime_us

SECOND_US = 1_000_000
HOUR_US = 3_600 * SECOND_US
PROVED = frozenset({"applied", "confirmed"})
# An uplink of a clock: a state of one circuit with power and energy, and what LoRaWAN adds.
UPLINK_OCTETS = 21 + 13
PROBES = 200_000


@dataclass(frozen=True, slots=True)
class Sent:
    """A frame that a gateway transmitted."""

    start_us: int
    airtime_us: int


@dataclass(frozen=True, slots=True)
class UplinkLoss:
    """Shares of uplinks that no gateway heard because each that could was transmitting; of its home's time."""

    alone: float
    redundant: float
    busy: float  # Of the time, the gateways that alone hear a device, by their devices: the least that these lose.


@dataclass(frozen=True, slots=True)
class Disturbed:
    """What the air did beyond losing one frame in twenty each way."""

    spoilt: int  # Downlinks, by another gateway's.
    collided: int  # Receptions of uplinks, by another device's.
    deaf: int  # Receptions of uplinks, by the gateway's own.

    @classmethod
    def of(cls, medium: RadioMedium, accounts: Sequence[RadioAccount]) -> "Disturbed":
        """So far."""
        return cls(
            medium.spoilt_downlinks, sum(one.collided for one in accounts), sum(one.deaf for one in accounts)
        )


@dataclass(frozen=True, slots=True)
class Played:
    """One campaign on one area."""

    name: str
    cabinets: int
    gateways: int
    state: CampaignState
    predicted_s: float
    outcomes: Sequence[Outcome]
    sent: Sequence[Sequence[Sent]]
    began_us: int
    loss: UplinkLoss
    disturbed: Disturbed
    lit_s: Sequence[tuple[float, int]]  # How many relays are lit, whenever that was looked at.
    wall_s: float
    cpu_s: float

    @property
    def proved_s(self) -> list[float]:
        """After how many seconds each proved one had, sorted."""
        return sorted(
            one.proved_after_s for one in self.outcomes if one.state in PROVED and one.proved_after_s is not None
        )

    def proved_within(self, seconds: float) -> float:
        """The share that had been proved by then."""
        return bisect_right(self.proved_s, seconds) / len(self.outcomes)

    def proved_at(self, share: float) -> float | None:
        """When this share of all had been proved."""
        proved = self.proved_s
        number = max(1, round(share * len(self.outcomes)))
        return proved[number - 1] if number <= len(proved) else None

    def lit_within(self, seconds: float) -> int:
        """How many relays were lit by then."""
        return max((lit for at, lit in self.lit_s if at <= seconds), default=0)

    @property
    def lit(self) -> int:
        """How many relays were lit at last."""
        return self.lit_within(float("inf"))

    @property
    def lit_after_s(self) -> float | None:
        """When all of them were."""
        return next((at for at, lit in self.lit_s if lit == self.cabinets), None)

    @property
    def took_s(self) -> float | None:
        """Until all was over."""
        return self.state.took_s

    @property
    def attempts(self) -> float:
        """On average."""
        return fmean(one.attempts for one in self.outcomes)

    @property
    def airtime_s(self) -> float:
        """Of all gateways together."""
        return sum(one.airtime_us for of_gateway in self.sent for one in of_gateway) / SECOND_US

    @property
    def worst_hour(self) -> float:
        """The largest share of any hour that a gateway has transmitted."""
        return max(busiest_hour_us(of_gateway) for of_gateway in self.sent) / HOUR_US


def busiest_hour_us(sent: Sequence[Sent]) -> int:
    """The most that was on air within any hour, frames that it cuts in two by their part.

    Of all hours one that begins with a frame, or ends with one, has the most.
    """
    begins = [one.start_us for one in sent] + [one.start_us + one.airtime_us - HOUR_US for one in sent]
    ordered = sorted(sent, key=lambda one: one.start_us)
    starts = [one.start_us for one in ordered]
    sums = [0]
    for one in ordered:
        sums.append(sums[-1] + one.airtime_us)

    def until(at_us: int) -> int:
        """On air before this instant; a radio sends one frame at a time."""
        number = bisect_right(starts, at_us)
        if not number:
            return 0
        last = ordered[number - 1]
        return sums[number - 1] + min(last.airtime_us, at_us - last.start_us)

    return max((until(at + HOUR_US) - until(at) for at in begins), default=0)


def uplink_loss(
    area: Area, sent: Sequence[Sequence[Sent]], from_us: int, to_us: int, probes: int = PROBES
) -> UplinkLoss:
    """What cabinets would lose that send at any instant between the two."""
    chance = random.Random(f"{from_us} {to_us}")
    ordered = [sorted(of_gateway, key=lambda one: one.start_us) for of_gateway in sent]
    starts = [[one.start_us for one in of_gateway] for of_gateway in ordered]

    def is_deaf(gateway: int, begin_us: int, end_us: int) -> bool:
        number = bisect_right(starts[gateway], end_us)
        return number > 0 and any(
            one.start_us < end_us and one.start_us + one.airtime_us > begin_us
            for one in ordered[gateway][max(0, number - 3) : number]
        )

    lost, tried = {True: 0, False: 0}, {True: 0, False: 0}
    for _ in range(probes):
        cabinet = chance.choice(area.cabinets)
        begin_us = chance.randrange(from_us, to_us)
        end_us = begin_us + lora_airtime_us(UPLINK_OCTETS, cabinet.spreading_factor, 125_000, crc=True)
        is_alone = len(cabinet.receptions) == 1
        tried[is_alone] += 1
        lost[is_alone] += all(is_deaf(gateway, begin_us, end_us) for gateway, _ in cabinet.receptions)
    homes = [cabinet.home for cabinet in area.cabinets if len(cabinet.receptions) == 1]
    on_air = [
        sum(one.airtime_us for one in of_gateway if from_us <= one.start_us < to_us) / (to_us - from_us)
        for of_gateway in sent
    ]
    return UplinkLoss(
        lost[True] / max(1, tried[True]),
        lost[False] / max(1, tried[False]),
        fmean(on_air[home] for home in homes) if homes else 0.0,
    )
