"""The catalogue of quantities: each measurement has one, and its unit follows from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class Kind(StrEnum):
    """How values of a quantity may be aggregated."""

    GAUGE = "gauge"  # Averages make sense.
    COUNTER = "counter"  # An index that only rises: differences at bucket edges make sense.
    BOOLEAN = "boolean"  # 0 or 1.
    ENUMERATION = "enumeration"  # A code; `labels` names each.


@dataclass(frozen=True, slots=True)
class Quantity:
    """A quantity, its UCUM unit, its names, and two ranges.

    `minimum` and `maximum` bound what sensors measure, unless a profile states its sensor's own range: a value
    outside is suspect. `lowest` and `highest` bound what is physically possible: what is outside is no value.
    """

    name: str
    unit: str
    kind: Kind
    label_fr: str
    label_en: str
    minimum: float | None = None
    maximum: float | None = None
    labels: tuple[str, ...] = ()
    lowest: float | None = None
    highest: float | None = None


# Where more is physically possible than sensors measure as a rule; of the others both ranges are the same.
_PHYSICAL: Mapping[str, tuple[float, float]] = {
    "distance": (0, 1_000_000),
    "temperature": (-273.15, 1_500),  # What burns in a container is below.
    "water_temperature": (-50, 400),
    "target_temperature": (-50, 120),
    "co2": (0, 1_000_000),
    "tvoc": (0, 1_000_000_000),
    "tvoc_mass": (0, 10_000_000),
    "pressure": (0, 100_000),
    "illuminance": (0, 1_000_000),
    "acceleration": (-2_000, 2_000),
    "sound_level": (-20, 194),  # Above, the pressure is below zero.
    "pm1": (0, 1_000_000),
    "pm2_5": (0, 1_000_000),
    "pm4": (0, 1_000_000),
    "pm10": (0, 1_000_000),
    "hcho": (0, 1_000),
    "o3": (0, 1_000_000),
    "water_level": (-100, 11_000),
    "water_pressure": (-101.325, 100_000),
    "wind_speed": (-150, 150),
    "rain": (0, 3_000),
    "solar_irradiance": (-200, 3_000),
    "conductivity": (0, 1_000_000),
    "temperature_difference": (-1_500, 1_500),
    "active_power": (-10_000_000_000, 10_000_000_000),
    "reactive_power": (-10_000_000_000, 10_000_000_000),
    "apparent_power": (0, 10_000_000_000),
    "apparent_power_maximum": (0, 10_000_000_000),
    "active_power_maximum": (0, 10_000_000_000),
    "thermal_power": (-10_000_000_000, 10_000_000_000),
    "voltage": (0, 1_000_000),
    "voltage_mean": (0, 1_000_000),
    "frequency": (0, 1_000),
    "current": (0, 1_000_000),
    "current_maximum": (0, 1_000_000),
    "subscribed_current": (0, 100_000),
    "input_voltage": (-1_000, 1_000),
    "input_current": (-1_000, 1_000),
    "altitude": (-11_000, 100_000),
    "clock_offset": (-5_000_000_000, 5_000_000_000),
}


def _catalogue(*quantities: Quantity) -> dict[str, Quantity]:
    named = {quantity.name: _with_physical_range(quantity) for quantity in quantities}
    if len(named) != len(quantities) or not named.keys() >= _PHYSICAL.keys():
        raise ValueError("a quantity is twice in the catalogue, or has a physical range only")
    return named


def _with_physical_range(quantity: Quantity) -> Quantity:
    lowest, highest = _PHYSICAL.get(quantity.name, (quantity.minimum, quantity.maximum))
    return replace(quantity, lowest=lowest, highest=highest)


_G, _C, _B, _E = Kind.GAUGE, Kind.COUNTER, Kind.BOOLEAN, Kind.ENUMERATION

QUANTITIES = _catalogue(
    # Waste containers
    Quantity("distance", "mm", _G, "Distance", "Distance", 0, 50_000),
    Quantity("fill_level", "%", _G, "Remplissage", "Fill level", 0, 100),
    Quantity("tilt", "1", _B, "Basculement", "Tilt"),
    Quantity("angle", "deg", _G, "Inclinaison", "Inclination", -360, 360),
    # Device health
    Quantity("battery_level", "%", _G, "Batterie", "Battery level", 0, 100),
    Quantity("battery_voltage", "V", _G, "Tension de pile", "Battery voltage", 0, 60),
    Quantity("low_battery", "1", _B, "Pile faible", "Low battery"),
    Quantity("device_fault", "1", _B, "Défaut de l'appareil", "Device fault"),
    # Air and rooms
    Quantity("temperature", "Cel", _G, "Température", "Temperature", -60, 150),
    Quantity("relative_humidity", "%", _G, "Humidité relative", "Relative humidity", 0, 100),
    Quantity("co2", "[ppm]", _G, "CO2", "CO2", 0, 10_000),
    Quantity("tvoc", "[ppb]", _G, "COV totaux", "Total VOC", 0, 60_000),
    Quantity("tvoc_index", "1", _G, "Indice COV", "VOC index", 0, 500),
    Quantity("tvoc_mass", "ug/m3", _G, "COV totaux (masse)", "Total VOC (mass)", 0, 60_000),
    Quantity("pressure", "hPa", _G, "Pression", "Pressure", 300, 1_200),
    Quantity("differential_pressure", "Pa", _G, "Pression différentielle", "Differential pressure"),
    Quantity("illuminance", "lx", _G, "Éclairement", "Illuminance", 0, 200_000),
    Quantity("light_count", "1", _G, "Lumière brute", "Raw light count", 0, 65_535),
    Quantity("light_level", "1", _G, "Niveau de lumière", "Light level", 0, 5),
    Quantity("motion", "1", _G, "Mouvement", "Motion", 0, 65_535),
    Quantity("acceleration", "[g]", _G, "Accélération", "Acceleration", -16, 16),
    Quantity("sound_level", "dB", _G, "Niveau sonore", "Sound level", 0, 150),
    Quantity("occupancy", "1", _B, "Occupation", "Occupancy"),
    Quantity("daylight", "1", _B, "Lumière du jour", "Daylight"),
    Quantity(
        "button_press", "1", _G, "Appui (1 court, 2 long, 3 double)", "Button press (1 short, 2 long, 3 double)"
    ),
    Quantity("people_count", "1", _G, "Personnes présentes", "People present", 0, 10_000),
    Quantity("people_passed", "1", _C, "Index de passages", "Passage index", 0, None),
    Quantity("people_passed_in_period", "1", _G, "Passages de la période", "Passages of the period", 0, 65_535),
    Quantity("pm1", "ug/m3", _G, "Particules PM1", "PM1", 0, 2_000),
    Quantity("pm2_5", "ug/m3", _G, "Particules PM2,5", "PM2.5", 0, 2_000),
    Quantity("pm4", "ug/m3", _G, "Particules PM4", "PM4", 0, 2_000),
    Quantity("pm10", "ug/m3", _G, "Particules PM10", "PM10", 0, 2_000),
    Quantity("hcho", "mg/m3", _G, "Formaldéhyde", "Formaldehyde", 0, 10),
    Quantity("o3", "[ppm]", _G, "Ozone", "Ozone", 0, 10),
    Quantity("concentration", "[ppm]", _G, "Concentration", "Concentration", 0, 1_000_000),
    # Water and pulses
    Quantity("water_volume", "L", _C, "Index d'eau", "Water index", 0, None),
    Quantity("water_temperature", "Cel", _G, "Température de l'eau", "Water temperature", -20, 120),
    Quantity("target_temperature", "Cel", _G, "Température de consigne", "Target temperature", -20, 60),
    Quantity("pulse_count", "1", _C, "Index d'impulsions", "Pulse index", 0, None),
    Quantity("leak", "1", _B, "Fuite", "Leak"),
    Quantity("backflow", "1", _B, "Retour d'eau", "Backflow"),
    Quantity("burst", "1", _B, "Rupture", "Burst"),
    Quantity("dry", "1", _B, "Canalisation vide", "Empty pipe"),
    Quantity("freeze", "1", _B, "Risque de gel", "Freezing risk"),
    Quantity("water_level", "m", _G, "Niveau d'eau", "Water level", -1, 200),
    Quantity("water_pressure", "kPa", _G, "Pression d'eau", "Water pressure", 0, 4_000),
    Quantity("valve_open", "1", _B, "Vanne ouverte", "Valve open"),
    Quantity("valve_opening", "%", _G, "Ouverture de vanne", "Valve opening", 0, 100),
    # Weather
    Quantity("wind_speed", "m/s", _G, "Vitesse du vent", "Wind speed", -100, 100),
    Quantity("wind_direction", "deg", _G, "Direction du vent", "Wind direction", 0, 360),
    Quantity("rain", "mm", _G, "Pluie de la période", "Rain of the period", 0, 1_000),
    Quantity("rain_total", "mm", _C, "Index de pluie", "Rain index", 0, None),
    Quantity("solar_irradiance", "W/m2", _G, "Rayonnement solaire", "Solar irradiance", -50, 2_000),
    # Soil
    Quantity(
        "soil_water_potential", "kPa", _G, "Potentiel hydrique du sol", "Soil water potential", -1_000_000, 0
    ),
    Quantity("soil_moisture", "%", _G, "Humidité du sol", "Soil moisture", 0, 100),
    Quantity("conductivity", "uS/cm", _G, "Conductivité", "Conductivity", 0, 100_000),
    # Heat, gas
    Quantity("thermal_energy", "W.h", _C, "Énergie thermique", "Thermal energy", 0, None),
    Quantity("cooling_energy", "W.h", _C, "Énergie frigorifique", "Cooling energy", 0, None),
    Quantity("thermal_power", "W", _G, "Puissance thermique", "Thermal power", -100_000_000, 100_000_000),
    Quantity("volume_flow", "L/h", _G, "Débit", "Volume flow", -10_000_000, 10_000_000),
    Quantity("temperature_difference", "K", _G, "Écart de température", "Temperature difference", -200, 200),
    Quantity("gas_volume", "m3", _C, "Index de gaz", "Gas index", 0, None),
    Quantity("heat_cost_units", "1", _C, "Index de répartiteur", "Heat cost allocator index", 0, None),
    # Electricity
    Quantity("active_energy_import", "W.h", _C, "Énergie active soutirée", "Active energy imported", 0, None),
    Quantity("active_energy_export", "W.h", _C, "Énergie active injectée", "Active energy exported", 0, None),
    Quantity("reactive_energy", "{var}.h", _C, "Énergie réactive", "Reactive energy"),
    Quantity("reactive_energy_import", "{var}.h", _C, "Énergie réactive soutirée", "Reactive energy imported"),
    Quantity("reactive_energy_export", "{var}.h", _C, "Énergie réactive injectée", "Reactive energy exported"),
    Quantity("active_power", "W", _G, "Puissance active", "Active power", -1_000_000, 1_000_000),
    Quantity("reactive_power", "{var}", _G, "Puissance réactive", "Reactive power", -1_000_000, 1_000_000),
    Quantity("apparent_power", "V.A", _G, "Puissance apparente", "Apparent power", 0, 1_000_000),
    Quantity(
        "apparent_power_maximum", "V.A", _G, "Puissance apparente maximale", "Maximum apparent power", 0, 1_000_000
    ),
    Quantity("voltage", "V", _G, "Tension", "Voltage", 0, 500),
    Quantity("voltage_mean", "V", _G, "Tension moyenne", "Mean voltage", 0, 500),
    Quantity("frequency", "Hz", _G, "Fréquence", "Frequency", 40, 70),
    Quantity("current", "A", _G, "Intensité", "Current", 0, 1_000),
    Quantity("current_maximum", "A", _G, "Intensité maximale", "Maximum current", 0, 1_000),
    Quantity("electric_charge", "A.h", _C, "Charge cumulée", "Accumulated charge", 0, None),
    Quantity("power_factor", "%", _G, "Facteur de puissance", "Power factor", -100, 100),
    Quantity("active_power_maximum", "W", _G, "Puissance active maximale", "Maximum active power", 0, 1_000_000),
    Quantity("subscribed_current", "A", _G, "Intensité souscrite", "Subscribed current", 0, 200),
    Quantity("subscribed_power", "kV.A", _G, "Puissance souscrite", "Subscribed power", 0, 10_000),
    Quantity("cutoff_power", "kV.A", _G, "Puissance de coupure", "Cut-off power", 0, 10_000),
    Quantity("tariff_index", "1", _G, "Index tarifaire en cours", "Current tariff index", 0, 15),
    # Switching
    Quantity("switch_state", "1", _B, "État du relais", "Relay state"),
    Quantity("open", "1", _B, "Ouverture", "Opening"),
    Quantity("tamper", "1", _B, "Arrachement", "Tamper"),
    Quantity("input_state", "1", _B, "Entrée logique", "Digital input"),
    Quantity("input_voltage", "V", _G, "Tension d'entrée", "Input voltage", -100, 100),
    Quantity("input_current", "mA", _G, "Courant d'entrée", "Input current", 0, 30),
    Quantity("analog_input", "1", _G, "Entrée analogique", "Analogue input"),
    Quantity("analog_output", "1", _G, "Sortie analogique", "Analogue output"),
    Quantity("percentage", "%", _G, "Pourcentage", "Percentage", 0, 100),
    Quantity("altitude", "m", _G, "Altitude", "Altitude", -500, 10_000),
    Quantity("multistate_output", "1", _G, "Sortie à plusieurs états", "Multistate output", 0, 255),
    # Lighting
    Quantity("light_output", "%", _G, "Niveau d'éclairage", "Light output", 0, 100),
    Quantity("local_override", "1", _B, "Forçage local", "Local override"),
    Quantity("breaker_tripped", "1", _B, "Disjoncteur déclenché", "Breaker tripped"),
    Quantity("clock_valid", "1", _B, "Horloge à l'heure", "Clock set"),
    Quantity("clock_offset", "s", _G, "Avance de l'horloge", "Clock offset", -86_400, 86_400),
)
