"""`router_config`, by which a Basics Station learns its region and how to set its concentrators up.

Written from the frozen `Region`; only where the radios of a concentrator stand is said here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from lorawan.gateway.basics_station import MAX_DATA_RATE
from lorawan.gateway.basics_station_answers import mux_time
from lorawan.regions import EU868, DataRate, Fsk, Lora, Region

MAX_BOARDS = 2
MULTI_SF_CHANNELS = 8
_FSK_BANDWIDTH = 125_000
_UNDEFINED = [-1, 0, 0]
# Of an SX1301's radio with 125 kHz channels: 925 kHz around its centre.
_MAX_OFFSET = 462_500


@dataclass(frozen=True, slots=True)
class Concentrator:
    """Where the two radios of an SX1301 stand, and its two single channels: frequencies in Hz.

    `region` is the name by which stations of every version know it: those that do not are at 14 dBm, and limit
    nothing, in the whole band.
    """

    region: str
    radios: tuple[int, int]
    lora_std: int
    lora_std_rate: Lora
    fsk: int
    fsk_rate: Fsk


# LoRaWAN's usual plan: 867.1 to 867.9 around the one radio, 868.1 to 868.8 around the other.
CONCENTRATORS: Mapping[str, Concentrator] = {
    EU868.name: Concentrator(
        "EU863", (867_500_000, 868_500_000), 868_300_000, Lora(7, 250_000), 868_800_000, Fsk(50_000)
    )
}


def router_config(
    region: Region, now_us: int, *, boards: int = 1, unlimited: bool = False, max_eirp: int | None = None
) -> str:
    """The whole message.

    Args:
        region: its channels and data rates.
        now_us: for MuxTime.
        boards: how many SX1301 the station drives, 1 or 2. Both listen to the same channels, each on its antenna.
        unlimited: leave listening before talking, duty cycle and dwell time to us, who keep them per sub-band and
            answer when they are used up, where the station would drop silently. Not for a production build.
        max_eirp: dBm, in every sub-band; None: as the region has it.

    Raises:
        ValueError: no such number of boards, or a channel that no radio reaches.
    """
    if not 1 <= boards <= MAX_BOARDS:
        raise ValueError(f"a station has 1 to {MAX_BOARDS} boards, not {boards}")
    concentrator = CONCENTRATORS[region.name]
    message: dict[str, Any] = {
        "msgtype": "router_config",
        # No filter: a device of ours may carry any DevAddr and JoinEUI, and the network service knows them.
        "NetID": None,
        "JoinEui": None,
        "region": concentrator.region,
        "hwspec": f"sx1301/{boards}",
        "freq_range": [region.sub_bands[0].low, region.sub_bands[-1].high],
        "DRs": _data_rates(region),
        "upchannels": _uplink_channels(region, concentrator),
        "sx1301_conf": [_board(region, concentrator)] * boards,
    }
    if max_eirp is not None:
        message["max_eirp"] = max_eirp
    if unlimited:
        message |= {"nocca": True, "nodc": True, "nodwell": True}
    return msgspec.json.encode(message | {"MuxTime": mux_time(now_us)}).decode()


def _data_rates(region: Region) -> list[list[int]]:
    """Spreading factor, kHz, 1 when only for downlinks; 0 stands for FSK."""
    known = [[rate.spreading_factor, rate.bandwidth // 1000, 0] if isinstance(rate, Lora) else [0, 0, 0]
             for rate in region.data_rates]  # fmt: skip
    return known + [_UNDEFINED] * (MAX_DATA_RATE + 1 - len(known))


def _uplink_channels(region: Region, concentrator: Concentrator) -> list[list[int]]:
    """Frequency, lowest and highest data rate."""
    std_rate = region.data_rates.index(concentrator.lora_std_rate)
    fsk_rate = region.data_rates.index(concentrator.fsk_rate)
    channels = [
        [
            channel.frequency,
            channel.min_data_rate,
            std_rate if channel.frequency == concentrator.lora_std else channel.max_data_rate,
        ]
        for channel in region.uplink_channels
    ]
    return [*channels, [concentrator.fsk, fsk_rate, fsk_rate]]


def _board(region: Region, concentrator: Concentrator) -> dict[str, Any]:
    board: dict[str, Any] = {
        f"radio_{number}": {"enable": True, "freq": frequency}
        for number, frequency in enumerate(concentrator.radios)
    }
    for number, channel in enumerate(region.uplink_channels[:MULTI_SF_CHANNELS]):
        board[f"chan_multiSF_{number}"] = _channel(concentrator, channel.frequency)
    std_rate = concentrator.lora_std_rate
    board["chan_Lora_std"] = _channel(concentrator, concentrator.lora_std) | {
        "bandwidth": std_rate.bandwidth,
        "spread_factor": std_rate.spreading_factor,
    }
    board["chan_FSK"] = _channel(concentrator, concentrator.fsk) | {
        "bandwidth": _FSK_BANDWIDTH,
        "datarate": concentrator.fsk_rate.bit_rate,
    }
    return board


def _channel(concentrator: Concentrator, frequency: int) -> dict[str, Any]:
    radio, centre = min(enumerate(concentrator.radios), key=lambda found: abs(frequency - found[1]))
    if abs(frequency - centre) > _MAX_OFFSET:
        raise ValueError(f"no radio reaches {frequency} Hz")
    return {"enable": True, "radio": radio, "if": frequency - centre}


def channel_of(region: Region, frequency: int, data_rate: DataRate) -> int:
    """The concentrator's channel on which a frame was received, as we configured it: 0 to 7, 8 Lora_std, 9 FSK.

    0 for a frequency that we did not configure.
    """
    concentrator = CONCENTRATORS[region.name]
    if isinstance(data_rate, Fsk):
        return MULTI_SF_CHANNELS + 1
    if data_rate == concentrator.lora_std_rate:
        return MULTI_SF_CHANNELS
    frequencies = [channel.frequency for channel in region.uplink_channels]
    return frequencies.index(frequency) if frequency in frequencies else 0
