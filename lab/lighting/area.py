"""The cabinets and gateways of a department, to try lighting on: which gateways hear which cabinet. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

# One cabinet in so many listens at the slowest data rate in RX2, the others four times faster.
SLOW_EVERY = 5
FAST_RX2, SLOW_RX2 = 3, 0
FAST_SPREADING_FACTOR, SLOW_SPREADING_FACTOR = 9, 12
# A third of them is heard by one gateway only, a third by two, and a third by two or three.
GATEWAYS_IN_RANGE = (1, 2, 2, 1, 2, 3)
# The most loaded gateway has so many times the mean, the least as much less.
MOST_LOADED = 1.5
LEAST_FAST_SNR = -12.0
# Of the best gateway, in dB; each further one hears the cabinet worse.
FAST_SNR, SLOW_SNR, LEAST_SNR = (-3.0, 6.0), (-14.0, -9.0), -19.5
WORSE_BY = (1.0, 6.0)


@dataclass(frozen=True, slots=True)
class AreaCabinet:
    """A cabinet: the gateways that hear it, by number, the best first, with their SNR; where it listens."""

    number: int
    receptions: tuple[tuple[int, float], ...]
    rx2_data_rate: int

    @property
    def spreading_factor(self) -> int:
        """At which it sends, and listens in RX2."""
        return SLOW_SPREADING_FACTOR if self.rx2_data_rate == SLOW_RX2 else FAST_SPREADING_FACTOR

    @property
    def home(self) -> int:
        """The gateway that hears it best."""
        return self.receptions[0][0]


@dataclass(frozen=True, slots=True)
class Area:
    """All of it."""

    gateways: int
    cabinets: Sequence[AreaCabinet]

    @property
    def most_loaded(self) -> float:
        """How many times the mean the gateway with the most cabinets has."""
        homes = [cabinet.home for cabinet in self.cabinets]
        return max(homes.count(gateway) for gateway in set(homes)) * self.gateways / len(homes)


def plan_area(cabinets: int, gateways: int, seed: str = "lighting") -> Area:
    """Gateways on a grid, each with its cabinets, some of which its neighbours hear, too."""
    chance = random.Random(seed)
    columns = ceil(sqrt(gateways))
    homes = _homes(cabinets, gateways, chance)
    made: list[AreaCabinet] = []
    of_home = [0] * gateways
    for number, home in enumerate(homes):
        place = of_home[home]
        of_home[home] += 1
        is_slow = place % SLOW_EVERY == SLOW_EVERY - 1
        others = _beside(home, columns, gateways)
        chance.shuffle(others)
        snr = chance.uniform(*(SLOW_SNR if is_slow else FAST_SNR))
        receptions = [(home, round(snr, 1))]
        for other in others[: GATEWAYS_IN_RANGE[place // SLOW_EVERY % len(GATEWAYS_IN_RANGE)] - 1]:
            snr = max(snr - chance.uniform(*WORSE_BY), LEAST_SNR if is_slow else LEAST_FAST_SNR)
            receptions.append((other, round(snr, 1)))
        made.append(AreaCabinet(number, tuple(receptions), SLOW_RX2 if is_slow else FAST_RX2))
    return Area(gateways, made)


def _homes(cabinets: int, gateways: int, chance: random.Random) -> list[int]:
    """The home of each cabinet: from half the mean to `MOST_LOADED` times the mean, evenly."""
    if gateways == 1:
        return [0] * cabinets
    weights = [2 - MOST_LOADED + (2 * MOST_LOADED - 2) * rank / (gateways - 1) for rank in range(gateways)]
    chance.shuffle(weights)
    counts = [round(weight * cabinets / gateways) for weight in weights]
    middle = sorted(range(gateways), key=lambda gateway: counts[gateway])[gateways // 2]
    counts[middle] += cabinets - sum(counts)
    return [gateway for gateway, count in enumerate(counts) for _ in range(count)]


def _beside(gateway: int, columns: int, gateways: int) -> list[int]:
    row, column = divmod(gateway, columns)
    places = ((row, column - 1), (row, column + 1), (row - 1, column), (row + 1, column))
    return [y * columns + x for y, x in places if 0 <= x < columns and y >= 0 and y * columns + x < gateways]
