"""Which gateways receive which device, and how well."""

import random
from collections.abc import Sequence
from typing import TypeVar

from lab.fleet.plan import DevicePlan
from lab.gateway.gateway import Gateway
from lab.radio.medium import Link

# How many gateways are in range of a device, and how often.
IN_RANGE = (1, 2, 3, 4)
IN_RANGE_WEIGHTS = (15, 35, 30, 20)
# By so much the next gateway receives a device worse.
SNR_STEP = (1.0, 5.0)
# Best SNR of a device, where nothing else is wanted.
BEST_SNR = (-8.0, 11.0)
# Of a load, whose radio is perfect: DR5.
EVEN_SNR = 5.0

G = TypeVar("G", bound=Gateway)


def nearest_links(
    plan: DevicePlan,
    gateways: Sequence[Gateway],
    source: random.Random,
    best_snr: tuple[float, float] = BEST_SNR,
) -> list[Link]:
    """The nearest one to four gateways; the nearest receives the device best."""
    nearest = sorted(
        gateways,
        key=lambda gateway: (gateway.latitude - plan.latitude) ** 2 + (gateway.longitude - plan.longitude) ** 2,
    )
    within_range = source.choices(IN_RANGE, weights=IN_RANGE_WEIGHTS)[0]
    best = source.uniform(*best_snr)
    return [
        Link(gateway, best - rank * source.uniform(*SNR_STEP))
        for rank, gateway in enumerate(nearest[:within_range])
    ]


def even_gateways(source: random.Random, gateways: Sequence[G], number: int, receptions: float) -> tuple[G, ...]:
    """The gateways that receive the device of this number, `receptions` on average: its home, then others."""
    home = number % len(gateways)
    more = int(receptions - 1) + (source.random() < receptions % 1)
    others = source.sample([*gateways[:home], *gateways[home + 1 :]], min(more, len(gateways) - 1))
    return gateways[home], *others
