"""How soon the radio medium lets devices join, by arithmetic, whatever the network does. Pure."""

from dataclasses import dataclass
from math import e

from lab.radio.transmission import BANDWIDTH, DEFAULT_CHANNELS, JOIN_DELAYS_US, SECOND_US
from lorawan.airtime import lora_airtime_us
from lorawan.regions.eu868 import EU868

REQUEST_OCTETS, ACCEPT_OCTETS = 23, 33
# Of a channel that nobody allots, requests get through for at most this part of the time (pure ALOHA).
ALOHA = 1 / (2 * e)


@dataclass(frozen=True, slots=True)
class Population:
    """Devices at one spreading factor; `receivers`: how many gateways receive one on average."""

    devices: int
    spreading_factor: int
    receivers: float


@dataclass(frozen=True, slots=True)
class JoinLimit:
    """Seconds. What must be: the longest of the three, and the delay of the accept."""

    requests_s: dict[int, float]
    """By spreading factor: until all requests have had a channel to themselves once, at the best possible load."""
    accepts_s: float
    """For which one gateway of average burden transmits accepts, and is deaf."""
    rx1_hour_share: float
    """What these accepts take of the hour that RX1's sub-band allows."""

    @property
    def all_joined_s(self) -> float:
        """Sooner than this not everybody can have joined."""
        return max(*self.requests_s.values(), self.accepts_s) + JOIN_DELAYS_US[0] / SECOND_US


def join_limit(populations: list[Population], gateways: int) -> JoinLimit:
    """The limit for devices that are spread evenly over gateways; without capture of the stronger."""
    requests: dict[int, float] = {}
    accepts_us = 0.0
    for group in populations:
        request_us = lora_airtime_us(REQUEST_OCTETS, group.spreading_factor, BANDWIDTH, crc=True)
        received = group.devices * group.receivers / gateways
        requests[group.spreading_factor] = received * request_us / (ALOHA * len(DEFAULT_CHANNELS)) / SECOND_US
        accept_us = lora_airtime_us(ACCEPT_OCTETS, group.spreading_factor, BANDWIDTH, crc=False)
        accepts_us += group.devices / gateways * accept_us
    band = EU868.sub_band_of(DEFAULT_CHANNELS[0])
    assert band is not None
    return JoinLimit(requests, accepts_us / SECOND_US, accepts_us / band.hourly_airtime_us)
