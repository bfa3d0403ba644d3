"""The sensors of the pilot fleet: plausible values, in the vendors' own payloads."""

import math
import random
from dataclasses import dataclass, field

from lab.device.application import Message
from lab.device.payloads import adeunis, axioma, elsys, milesight, watteco

MILESIGHT_PORT = 85
ELSYS_PORT = 5
WATTECO_PORT = 125
ADEUNIS_PORT = 1
AXIOMA_PORT = 100
SECOND_US = 1_000_000
HOUR_S = 3_600

# More than the sensor is made for.
FIRE_CEL = 180.0
# The demonstration's containers: empty at this distance from the sensor, full at that one.
EMPTY_MM = 1_700
FULL_MM = 300


def _wave(now_us: int, period_s: float, phase: float) -> float:
    """-1 to 1, smoothly, once per period."""
    return math.sin(2 * math.pi * (now_us / SECOND_US / period_s + phase))


@dataclass(slots=True)
class Silent:
    """A sensor that acts on no downlink."""

    random: random.Random

    def on_downlink(self, _message: Message, _now_us: int) -> Message | None:
        """Nothing to do, no answer."""
        return None


@dataclass(slots=True)
class Container(Silent):
    """A bin or a glass container that fills, and is emptied when it is full (Milesight EM310, EM400).

    One that burns says so from its second message on.
    """

    fill: float  # %
    rise: float  # points per uplink
    is_em400: bool
    battery: int = 92
    burns: bool = False
    said: list[float] = field(default_factory=list[float])  # The level of each message.

    def next_message(self, _now_us: int) -> Message:
        """A little fuller than before; emptied once it is full."""
        self.fill += self.rise * self.random.uniform(0.5, 1.5)
        if self.fill >= 98:  # noqa: PLR2004 - Nobody waits for the last two points.
            self.fill = self.random.uniform(2, 8)
        self.said.append(self.fill)
        distance = round(EMPTY_MM - (EMPTY_MM - FULL_MM) * self.fill / 100)
        if self.is_em400:
            is_burning = self.burns and len(self.said) > 1
            temperature = FIRE_CEL if is_burning else round(self.random.gauss(12, 1), 1)
            payload = milesight.em400(
                battery=self.battery, temperature=temperature, distance_mm=distance, tilted=False
            )
        else:
            payload = milesight.em310(battery=self.battery, distance_mm=distance, tilted=False)
        return Message(MILESIGHT_PORT, payload)


@dataclass(slots=True)
class Cabinet:
    """A lighting cabinet or light point: a relay and a meter (Watteco Triphas'O)."""

    random: random.Random
    power_w: int
    on: bool = True
    energy_wh: float = 0.0
    _uplinks: int = 0
    _last_us: int = 0

    def next_message(self, now_us: int) -> Message:
        """The meter, and every fourth time the relay."""
        elapsed_s = (now_us - self._last_us) / SECOND_US if self._last_us else 0
        self._last_us = now_us
        power = round(self.power_w * self.random.uniform(0.97, 1.03)) if self.on else 0
        self.energy_wh += power * elapsed_s / HOUR_S
        self._uplinks += 1
        if self._uplinks % 4 == 1:
            return Message(WATTECO_PORT, watteco.relay_state(self.on))
        metering = watteco.metering_800a(
            3, import_wh=round(self.energy_wh), active_power_w=power, reactive_power_var=round(power / 10)
        )
        return Message(WATTECO_PORT, metering)

    def on_downlink(self, message: Message, _now_us: int) -> Message | None:
        """Switch without an answer; send the relay's state when asked."""
        if message.f_port != WATTECO_PORT:
            return None
        wanted = watteco.parse_switch_command(message.payload)
        if wanted is not None:
            self.on = wanted
            return None
        if watteco.asks_relay_state(message.payload):
            return Message(WATTECO_PORT, watteco.read_response_relay(self.on))
        return None


@dataclass(slots=True)
class Linky(Silent):
    """A Linky behind a Watteco TICs'O (standard or historique) or an Adeunis TIC transmitter."""

    form: str  # watteco_standard, watteco_historique, adeunis
    serial: str  # 12 digits
    index_wh: float
    power_va: int
    _last_us: int = 0

    def next_message(self, now_us: int) -> Message:
        """The index, the power, the current."""
        elapsed_s = (now_us - self._last_us) / SECOND_US if self._last_us else 0
        self._last_us = now_us
        apparent = max(
            100, round(self.power_va * (1 + 0.4 * _wave(now_us, 600, 0)) * self.random.uniform(0.9, 1.1))
        )
        self.index_wh += apparent * 0.95 * elapsed_s / HOUR_S
        index, current = int(self.index_wh), round(apparent / 230)
        if self.form == "adeunis":
            payload = adeunis.tic_mono(
                self.serial,
                optarif="BASE",
                ptec="TH..",
                base=index,
                isousc=45,
                iinst=current,
                imax=60,
                papp=apparent,
            )
            return Message(ADEUNIS_PORT, payload)
        if self.form == "watteco_historique":
            payload = watteco.tic_historique({"BASE": index, "IINST": current, "PAPP": apparent})
        else:
            payload = watteco.tic_standard({"EAST": index, "IRMS1": current, "URMS1": 231, "SINSTS": apparent})
        return Message(WATTECO_PORT, payload)


@dataclass(slots=True)
class WaterMeter(Silent):
    """A water meter with hourly history (Axioma Qalcosonic W1)."""

    volume_l: int
    litres_per_hour: int
    _hours: list[int] = field(default_factory=list[int])

    def next_message(self, now_us: int) -> Message:
        """The index now, and the fifteen hours before the last full one."""
        if not self._hours:
            self._hours = [self.random.randint(0, 2 * self.litres_per_hour) for _ in range(15)]
        now_s = now_us // SECOND_US
        self.volume_l += self.random.randint(0, 2)
        first_s = now_s - now_s % HOUR_S - 15 * HOUR_S
        payload = axioma.w1(
            now_s=now_s,
            volume_l=self.volume_l,
            first_log_s=first_s,
            first_volume_l=max(0, self.volume_l - sum(self._hours) - 50),
            hourly_deltas_l=self._hours,
        )
        return Message(AXIOMA_PORT, payload)


@dataclass(slots=True)
class PulseMeter(Silent):
    """A sub-meter by pulses (Watteco Pulse Sens'O)."""

    index: int

    def next_message(self, _now_us: int) -> Message:
        """The index, which only rises."""
        self.index += self.random.randint(0, 5)
        return Message(WATTECO_PORT, watteco.pulse(0, self.index))


@dataclass(slots=True)
class RoomAir(Silent):
    """A room's air (Elsys ERS-CO2, Milesight AM103 or AM319)."""

    model: str  # ers_co2, am103, am319
    co2: float
    phase: float

    def next_message(self, now_us: int) -> Message:
        """A room that fills with people and is aired."""
        co2 = round(self.co2 + 250 * _wave(now_us, 1_800, self.phase) + self.random.gauss(0, 10))
        temperature = round(20 + _wave(now_us, 3_600, self.phase) + self.random.gauss(0, 0.1), 1)
        humidity = round(45 + 5 * _wave(now_us, 5_400, self.phase))
        if self.model == "ers_co2":
            payload = elsys.ers_co2(
                temperature=temperature, humidity=humidity, lux=300, motion=1, co2=co2, vdd_mv=3_620
            )
            return Message(ELSYS_PORT, payload)
        if self.model == "am103":
            payload = milesight.am103(battery=90, temperature=temperature, humidity=float(humidity), co2=co2)
        else:
            payload = milesight.am319(
                temperature=temperature,
                humidity=float(humidity),
                motion=True,
                light_level=2,
                co2=co2,
                tvoc=0.4,
                pressure=1_013.2,
                hcho=0.02,
                pm2_5=8,
                pm10=12,
                o3=0.01,
            )
        return Message(MILESIGHT_PORT, payload)
