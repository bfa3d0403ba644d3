"""EU863-870 (RP002), with the sub-bands of ETSI EN 300 220-2."""

from lorawan.regions.region import ERP_TO_EIRP_DB, Channel, Fsk, Lora, Region, SubBand

_KHZ = 1_000
_LORA_125 = 125_000
_MAX_RX1_DR_OFFSET = 5


def _channel(frequency_khz: int) -> Channel:
    return Channel(frequency_khz * _KHZ, min_data_rate=0, max_data_rate=5)


def _sub_band(low_khz: int, high_khz: int, duty_cycle: float, erp: int) -> SubBand:
    return SubBand(low_khz * _KHZ, high_khz * _KHZ, erp + ERP_TO_EIRP_DB, duty_cycle)


EU868 = Region(
    name="EU868",
    data_rates=(
        Lora(12, _LORA_125),
        Lora(11, _LORA_125),
        Lora(10, _LORA_125),
        Lora(9, _LORA_125),
        Lora(8, _LORA_125),
        Lora(7, _LORA_125),
        Lora(7, 250_000),
        Fsk(50_000),
    ),
    default_channels=tuple(map(_channel, (868_100, 868_300, 868_500))),
    cf_list_channels=tuple(map(_channel, (867_100, 867_300, 867_500, 867_700, 867_900))),
    rx1_data_rates=tuple(
        tuple(max(0, uplink - offset) for offset in range(_MAX_RX1_DR_OFFSET + 1)) for uplink in range(8)
    ),
    rx2_frequency=869_525_000,
    rx2_data_rate=0,
    join_accept_delay1=5,
    join_accept_delay2=6,
    max_payload=(51, 51, 51, 115, 242, 242, 242, 242),
    sub_bands=(
        _sub_band(863_000, 865_000, 0.001, 14),
        _sub_band(865_000, 868_000, 0.01, 14),
        _sub_band(868_000, 868_600, 0.01, 14),
        _sub_band(868_700, 869_200, 0.001, 14),
        _sub_band(869_400, 869_650, 0.1, 27),
        _sub_band(869_700, 870_000, 0.01, 14),
    ),
)
