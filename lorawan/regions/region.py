"""The type of a regional plan: data rates, channels, receive windows, limits of transmission."""

from collections.abc import Mapping
from dataclasses import dataclass, field

HOUR_US = 3_600_000_000
# Of a half-wave dipole, to which the law's ERP refers, over an isotropic antenna.
ERP_TO_EIRP_DB = 2.15

# The SNR, in dB, under which a spreading factor is not demodulated (docs/radio.md, "Demodulation and margin").
REQUIRED_SNR: Mapping[int, float] = {7: -7.5, 8: -10.0, 9: -12.5, 10: -15.0, 11: -17.5, 12: -20.0}


@dataclass(frozen=True, slots=True)
class Lora:
    """Chirp spread spectrum; bandwidth in Hz."""

    spreading_factor: int
    bandwidth: int


@dataclass(frozen=True, slots=True)
class Fsk:
    """Frequency shift keying; bit/s."""

    bit_rate: int


DataRate = Lora | Fsk


@dataclass(frozen=True, slots=True)
class Channel:
    """An uplink channel: its frequency in Hz, and the data rates that devices may use on it."""

    frequency: int
    min_data_rate: int
    max_data_rate: int


@dataclass(frozen=True, slots=True)
class SubBand:
    """A slice of spectrum, `low` included and `high` excluded (Hz), with the limits of one transmitter in it."""

    low: int
    high: int
    eirp: float
    """The most that an antenna may radiate, dBm; the law's ERP is 2.15 dB less."""
    duty_cycle: float
    """Share of any sliding hour during which the transmitter may be on the air."""

    @property
    def hourly_airtime_us(self) -> int:
        """The time on air allowed in any sliding hour, in microseconds."""
        return round(self.duty_cycle * HOUR_US)


@dataclass(frozen=True, slots=True)
class Region:
    """One plan of RP002 for LoRaWAN 1.0.x. Index of a tuple = index of the data rate or of the channel."""

    name: str
    data_rates: tuple[DataRate, ...]
    default_channels: tuple[Channel, ...]
    """The channels that every device knows, on which it joins."""
    cf_list_channels: tuple[Channel, ...]
    """The channels that a join-accept adds."""
    rx1_data_rates: tuple[tuple[int, ...], ...]
    """By the uplink's data rate, then by RX1DROffset (docs/protocols.md, row 25)."""
    rx2_frequency: int
    rx2_data_rate: int
    join_accept_delay1: int
    """Seconds after the end of the join-request."""
    join_accept_delay2: int
    max_payload: tuple[int, ...]
    """By data rate: N, the most octets of FRMPayload and FOpts without repeater (docs/protocols.md, row 33)."""
    sub_bands: tuple[SubBand, ...]
    uplink_channels: tuple[Channel, ...] = field(init=False)
    """The channels of a device that has joined, in the order of a channel mask."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "uplink_channels", self.default_channels + self.cf_list_channels)

    def data_rate_of(self, spreading_factor: int, bandwidth: int) -> int | None:
        """The index of a LoRa data rate; None when the plan has no such one (Hz)."""
        wanted = Lora(spreading_factor, bandwidth)
        return next((index for index, rate in enumerate(self.data_rates) if rate == wanted), None)

    def rx1_data_rate(self, uplink_data_rate: int, offset: int) -> int:
        """The data rate of RX1 (docs/protocols.md, row 25).

        Raises:
            ValueError: the plan has no such data rate or offset.
        """
        if not 0 <= uplink_data_rate < len(self.rx1_data_rates):
            raise ValueError(f"{self.name} has no data rate {uplink_data_rate}")
        row = self.rx1_data_rates[uplink_data_rate]
        if not 0 <= offset < len(row):
            raise ValueError(f"RX1DROffset is 0 to {len(row) - 1} in {self.name}, not {offset}")
        return row[offset]

    def sub_band_of(self, frequency: int) -> SubBand | None:
        """The sub-band around a centre frequency in Hz; None where nobody may transmit."""
        return next((band for band in self.sub_bands if band.low <= frequency < band.high), None)

    def downlink_eirp(self, frequency: int) -> float:
        """The power of a downlink in dBm EIRP, as the law limits it.

        Raises:
            ValueError: no sub-band holds this frequency.
        """
        band = self.sub_band_of(frequency)
        if band is None:
            raise ValueError(f"{frequency} Hz is in no sub-band of {self.name}")
        return band.eirp
