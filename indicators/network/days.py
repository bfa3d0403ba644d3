"""What a day of a device and of a gateway says of the radio. Pure.

A day is a local one of the deployment; instants are aware, times on air microseconds, margins dB above what the
data rate needs to be demodulated.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.model.frame_loss import CountedUplink, Span, sent_and_received
from lorawan.airtime import lora_airtime_us
from lorawan.regions.region import REQUIRED_SNR, Region

# MHDR, DevAddr, FCtrl, FCnt, MIC; one more where there is an FPort. FOpts are not kept: the least that was sent.
OCTETS_AROUND = 12
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ReceivedUplink:
    """An uplink with its best SNR in dB by gateway; empty where another LNS says nothing of gateways."""

    at: datetime
    session: int | None
    f_cnt: int | None
    octets: int
    has_port: bool
    spreading_factor: int
    bandwidth: int
    snr: Mapping[int, float]

    @property
    def air_time_us(self) -> int:
        """The least time on air that it took; 0 for what is not LoRa."""
        if self.spreading_factor not in REQUIRED_SNR or self.bandwidth <= 0:
            return 0
        length = OCTETS_AROUND + self.has_port + self.octets
        return lora_airtime_us(length, self.spreading_factor, self.bandwidth, crc=True)


@dataclass(frozen=True, slots=True)
class GatewayShare:
    """Of a device's frames on a day: how many a gateway received, how many no other one did, its margins' sum."""

    gateway_id: int
    received: int
    alone: int
    margin_sum: float


@dataclass(frozen=True, slots=True)
class DeviceDay:
    """A day of a device: `sent` and `received` by FCnt, outside outages.

    `with_receptions`: frames of which gateways are known. Over these `margin_sum`, each by its best gateway, and
    the least of their margins; None: there is none.
    """

    sent: int
    received: int
    with_receptions: int
    margin_sum: float
    least_margin: float | None
    air_time_us: int
    gateways: tuple[GatewayShare, ...]


def device_day(
    uplinks: Iterable[ReceivedUplink], before: CountedUplink | None, outages: Sequence[Span]
) -> DeviceDay:
    """The day of a device; `before`: its last uplink of an earlier day, from which on frames are missing.

    A frame that came several times counts once, received by every gateway that received one of them.
    """
    every = sorted(uplinks, key=lambda uplink: uplink.at)
    frames = [CountedUplink(one.at, one.session, one.f_cnt) for one in every if one.f_cnt is not None]
    known = [before, *frames] if before is not None and frames else frames
    sent, received = sent_and_received(known, outages)
    if known is not frames:
        sent, received = sent - 1, received - 1
    best: dict[tuple[int | None, int], dict[int, float]] = {}
    for one in every:
        if one.f_cnt is None or one.spreading_factor not in REQUIRED_SNR:
            continue
        margins = best.setdefault((one.session, one.f_cnt), {})
        for gateway_id, snr in one.snr.items():
            margin = snr - REQUIRED_SNR[one.spreading_factor]
            margins[gateway_id] = max(margin, margins.get(gateway_id, margin))
    with_receptions = [margins for margins in best.values() if margins]
    highest = [max(margins.values()) for margins in with_receptions]
    return DeviceDay(
        sent,
        received,
        len(with_receptions),
        sum(highest),
        min(highest) if highest else None,
        sum(one.air_time_us for one in every),
        _shares(with_receptions),
    )


def _shares(with_receptions: Sequence[Mapping[int, float]]) -> tuple[GatewayShare, ...]:
    gateways = sorted({gateway_id for margins in with_receptions for gateway_id in margins})
    return tuple(
        GatewayShare(
            gateway_id,
            sum(gateway_id in margins for margins in with_receptions),
            sum(list(margins) == [gateway_id] for margins in with_receptions),
            sum(margins[gateway_id] for margins in with_receptions if gateway_id in margins),
        )
        for gateway_id in gateways
    )


@dataclass(frozen=True, slots=True)
class Transmitted:
    """What a gateway transmitted; Hz."""

    at: datetime
    air_time_us: int
    frequency: int


@dataclass(frozen=True, slots=True)
class GatewayDay:
    """What a gateway transmitted on a day; `busiest_percent`: the most of what the law allows in any hour of it,

    from the start of a transmission on, in the sub-band where it is most; None: it transmitted nothing.
    """

    transmissions: int
    air_time_us: int
    busiest_percent: float | None


def gateway_day(transmitted: Iterable[Transmitted], region: Region) -> GatewayDay:
    """The day of a gateway's radio; what is in no sub-band of the region counts as time on air alone."""
    every = sorted(transmitted, key=lambda one: one.at)
    by_band: dict[int, list[Transmitted]] = {}
    for one in every:
        band = region.sub_band_of(one.frequency)
        if band is not None:
            by_band.setdefault(band.low, []).append(one)
    most: list[float] = [_busiest(of_band, region) for of_band in by_band.values()]
    return GatewayDay(len(every), sum(one.air_time_us for one in every), max(most) if most else None)


def _busiest(transmitted: Sequence[Transmitted], region: Region) -> float:
    """Percent of a sub-band's hour that was used at most; all of one sub-band, in the order of time."""
    band = region.sub_band_of(transmitted[0].frequency)
    assert band is not None  # noqa: S101 - Chosen by it.
    most, used, end = 0, 0, 0
    for first in transmitted:
        while end < len(transmitted) and transmitted[end].at < first.at + HOUR:
            used += transmitted[end].air_time_us
            end += 1
        most = max(most, used)
        used -= first.air_time_us
    return 100 * most / band.hourly_airtime_us
