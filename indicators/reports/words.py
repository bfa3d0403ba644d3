"""What figures, sections and reasons of a report are called in French and English, how each is found. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from core.model.calendar_buckets import first_of
from indicators.reports.model import Amount, Cell, Service, Unknown

Language = Literal["fr", "en"]
Words = tuple[str, str]
"""In French, in English."""
LANGUAGES: tuple[Language, ...] = ("fr", "en")
THIN = "\N{NARROW NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True)
class Wording:
    """How a figure is called, in which unit, to how many decimals, and how it is found."""

    name: Words
    unit: str
    decimals: int
    formula: Words
    is_good_when: Literal["less", "more", ""] = ""


SERVICE_NAMES: dict[Service, Words] = {
    "all": ("tous les services", "all services"),
    "waste": ("déchets", "waste"),
    "buildings": ("bâtiments", "buildings"),
    "lighting": ("éclairage", "lighting"),
    "network": ("réseau", "network"),
    "cost": ("coûts", "cost"),
}
SECTIONS: dict[str, Words] = {
    "waste": ("Déchets", "Waste"),
    "buildings": ("Bâtiments et eau", "Buildings and water"),
    "lighting": ("Éclairage public", "Street lighting"),
    "network": ("Réseau radio", "Radio network"),
    "cost": ("Coûts", "Cost"),
    "alerts": ("Alertes", "Alerts"),
    "sensors": ("Capteurs", "Sensors"),
}
UNKNOWN: dict[Unknown, Words] = {
    Unknown.NOTHING_THERE: ("sans objet", "not applicable"),
    Unknown.NOT_MEASURED: ("rien n’a été mesuré", "nothing was measured"),
    Unknown.NOT_WHOLE: ("mois trop incomplet", "month too incomplete"),
    Unknown.WEATHER_MISSING: ("il manque un jour de météo", "a day of weather is missing"),
    Unknown.NO_STATION: ("aucune station météo choisie", "no weather station chosen"),
    Unknown.NO_BASELINE: ("aucune référence", "no baseline"),
    Unknown.NO_REFERENCE: ("puissance ou position inconnue", "rated power or place unknown"),
    Unknown.NO_CALENDAR: ("aucun calendrier d’occupation", "no calendar of occupancy"),
    Unknown.NO_RULE: ("aucune règle ne veille", "no rule watches"),
    Unknown.NO_STATEMENT: ("aucun décompte émis", "no statement issued"),
    Unknown.NOT_OF_THEN: ("le mois est passé depuis longtemps", "the month is long over"),
}
UNIT_WORDS: dict[str, Words] = {"d": ("j", "d"), "": ("", "")}

FIGURES: dict[str, Wording] = {
    "waste.bins": Wording(
        ("Bornes mesurées", "Bins measured"), "", 0,
        ("bornes dont le niveau est mesuré", "bins of which the level is measured"),
    ),
    "waste.days_above": Wording(
        ("Jours à 75 % ou plus", "Days at 75 % or more"), "d", 1,
        ("temps passé à 75 % ou plus, additionné sur les bornes", "time spent at 75 % or more, over all bins"),
        "less",
    ),
    "waste.days_unknown": Wording(
        ("Jours inconnus", "Unknown days"), "d", 1,
        ("temps à plus de deux intervalles d’une mesure : ni plein, ni vide",
         "time more than two intervals from a reading: neither full nor empty"),
        "less",
    ),
    "waste.emptyings": Wording(
        ("Vidages", "Emptyings"), "", 0,
        ("baisses d’au moins 40 points jusqu’à 25 % au plus", "falls by at least 40 points to at most 25 %"),
    ),
    "waste.emptyings_suspect": Wording(
        ("dont incertains", "of which uncertain"), "", 0,
        ("vidages que rien ne confirme, ou pendant un silence", "not confirmed, or while the sensor was silent"),
        "less",
    ),
    "waste.tonnes": Wording(
        ("Tonnes vidées", "Tonnes emptied"), "t", 2,
        ("volume × masse volumique, calés sur les pesées d’un an ; n : vidages de volume connu",
         "volume × density, calibrated by a year of tickets; n: emptyings of known volume"),
    ),
    "waste.full_soon": Wording(
        ("Bornes pleines sous 7 jours", "Bins full within 7 days"), "", 0,
        ("prévision P50, à la date de ce rapport", "forecast P50, on the day of this report"),
        "less",
    ),
    "buildings.electricity": Wording(
        ("Électricité", "Electricity"), "kWh", 0,
        ("index à la fin du mois moins index au début, compteurs entiers seuls",
         "index at the end of the month less that at its beginning, whole meters only"),
        "less",
    ),
    "buildings.gas": Wording(
        ("Gaz",
         "Gas"), "m³", 0, ("comme l’électricité ; non converti en kWh", "as electricity; not converted"), "less",
    ),
    "buildings.heat": Wording(
        ("Chaleur", "Heat"), "kWh", 0, ("comme l’électricité", "as electricity"), "less",
    ),
    "buildings.water": Wording(("Eau", "Water"), "m³", 1, ("comme l’électricité", "as electricity"), "less"),
    "buildings.degree_days": Wording(
        ("Degrés-jours (base 18, méthode Météo)", "Degree days (base 18, mean method)"), "°C·j", 1,
        ("somme de max(0, 18 - (Tn + Tx) / 2) ; un jour sans températures et il n’y a pas de total",
         "sum of max(0, 18 - (Tn + Tx) / 2); no total where a day is missing"),
    ),
    "buildings.saved_kwh": Wording(
        ("Énergie économisée", "Energy saved"), "kWh", 0,
        ("attendu par la référence figée moins relevé (IPMVP, option C)",
         "expected by the frozen baseline less what was taken (IPMVP, option C)"),
        "more",
    ),
    "buildings.saved_m3": Wording(
        ("Eau et gaz économisés", "Water and gas saved"), "m³", 0,
        ("attendu par la référence figée moins relevé",
         "expected by the frozen baseline less what was taken"), "more",
    ),
    "buildings.icone": Wording(
        ("Confinement des salles (ICONE)", "Confinement of rooms (ICONE)"), "sur 5", 1,
        ("2,5 / log10(2) x log10(1 + f1 + 3 f2), moyenne des salles pondérée par leurs heures connues",
         "2.5 / log10(2) x log10(1 + f1 + 3 f2), mean of rooms by their known hours"),
        "less",
    ),
    "buildings.co2_1500": Wording(
        ("Heures occupées à 1 500 ppm ou plus", "Occupied hours at 1,500 ppm or more"), "%", 1,
        ("part des heures occupées et connues", "share of occupied and known hours"), "less",
    ),
    "buildings.leak_litres": Wording(
        ("Fuites d’eau", "Water leaks"), "L", 0,
        ("débit de nuit de deux nuits de suite au-dessus de 5 L/h, par les heures du jour",
         "night flow above 5 L/h for two nights in a row, times the hours of the day"),
        "less",
    ),
    "lighting.kwh": Wording(
        ("Énergie",
         "Energy"), "kWh", 0, ("index des armoires dont le mois est entier", "indexes of whole months"), "less",
    ),
    "lighting.lit_hours": Wording(
        ("Heures allumées par armoire", "Hours lit per cabinet"), "h", 0,
        ("état relevé, par armoire connue", "state as read, per known cabinet"),
    ),
    "lighting.availability": Wording(
        ("Disponibilité", "Availability"), "%", 1,
        ("part allumée des heures que le programme veut allumées",
         "lit share of hours that the program wants lit"),
        "more",
    ),
    "lighting.faults": Wording(
        ("Pannes", "Faults"), "", 0,
        ("alertes de pannes ouvertes dans le mois", "alerts of faults opened in the month"), "less",
    ),
    "lighting.saved_kwh": Wording(
        ("Énergie économisée", "Energy saved"), "kWh", 0,
        ("programme du coucher au lever du soleil, à pleine puissance, moins relevé",
         "dusk to dawn at full power, less what was taken"),
        "more",
    ),
    "network.covered": Wording(
        ("Équipements couverts", "Assets covered"), "%", 1,
        ("couverts ou faibles, sur ceux dont on sait quelque chose", "covered or weak, of those known"), "more",
    ),
    "network.white": Wording(
        ("Équipements en zone blanche", "Assets in a white zone"), "", 0,
        ("plus de 50 % de trames perdues", "more than 50 % of frames lost"), "less",
    ),
    "network.loss": Wording(
        ("Trames perdues", "Frames lost"), "%", 1,
        ("1 - reçues / émises d’après FCnt, hors coupures", "1 - received / sent by FCnt, outages apart"), "less",
    ),
    "cost.share": Wording(
        ("Part de l’année", "Share of the year"), "EUR", 2,
        ("lignes de la commune au dernier décompte émis pour l’année", "lines of the last statement of the year"),
    ),
    "alerts.opened": Wording(
        ("Alertes ouvertes dans le mois", "Alerts opened in the month"), "", 0,
        ("celles des équipements de la commune", "those of the commune’s assets"), "less",
    ),
    "alerts.grave": Wording(
        ("dont majeures ou critiques",
         "of which major or critical"), "", 0, ("gravité la plus haute", "highest severity"), "less",
    ),
    "alerts.open_at_end": Wording(
        ("Encore ouvertes à la fin du mois", "Still open at the end of the month"), "", 0,
        ("ouvertes avant, sans fin à cette date", "opened before, without an end by then"), "less",
    ),
    "alerts.hours": Wording(
        ("Durée moyenne", "Mean length"), "h", 1,
        ("de celles qui ont pris fin dans le mois", "of those that ended in the month"), "less",
    ),
    "sensors.served": Wording(
        ("Équipements suivis par un capteur", "Assets with a sensor"), "", 0,
        ("un jour du mois au moins", "on at least one day of the month"),
    ),
    "sensors.silent": Wording(
        ("Équipements sans nouvelles un jour ou plus", "Assets unheard for a day or more"), "", 0,
        ("durée des alertes de capteur muet, dans le mois",
         "length of alerts of silent sensors in the month"), "less",
    ),
    "sensors.silent_days": Wording(
        ("Jours sans nouvelles", "Days unheard"), "d", 1,
        ("durée des alertes de capteur muet, dans le mois",
         "length of alerts of silent sensors in the month"), "less",
    ),
    "sensors.ill": Wording(
        ("Capteurs à voir", "Sensors to look at"), "", 0,
        ("santé des capteurs, à la date de ce rapport", "health of sensors, on the day of this report"), "less",
    ),
}  # fmt: skip
USE: Words = ("Usage", "Use")
# A decimal says nothing of what has three digits before it.
OF_FOUR_DIGITS = 100
CHARTS: dict[str, Words] = {
    "waste.days_above": ("Jours à 75 % ou plus, par mois", "Days at 75 % or more, by month"),
    "waste.emptyings": ("Vidages par mois", "Emptyings by month"),
    "buildings.electricity": ("Électricité des bâtiments, kWh par mois", "Electricity of buildings, kWh by month"),
    "buildings.gas": ("Gaz des bâtiments, m³ par mois", "Gas of buildings, m³ by month"),
    "buildings.heat": ("Chaleur des bâtiments, kWh par mois", "Heat of buildings, kWh by month"),
    "buildings.water": ("Eau des bâtiments, m³ par mois", "Water of buildings, m³ by month"),
    "lighting.kwh": ("Éclairage, kWh par mois", "Lighting, kWh by month"),
}
TABLES: dict[str, tuple[Words, tuple[Words, ...]]] = {
    "waste.fullest": (
        ("Les bornes les plus souvent pleines", "The bins that were full most often"),
        (("Borne", "Bin"), ("Jours à 75 % ou plus", "Days at 75 % or more"), ("Jours inconnus", "Unknown days"),
         ("Vidages", "Emptyings")),
    ),
    "buildings.uses": (
        ("Par bâtiment", "By building"),
        (("Bâtiment", "Building"), USE, ("Ce mois", "This month"), ("Unité", "Unit"),
         ("Écart sur un an, %", "Change in a year, %")),
    ),
    "buildings.savings": (
        ("Économies depuis des travaux", "Savings since works"),
        (("Bâtiment", "Building"), USE, ("Économisé", "Saved"), ("Au moins", "At least"),
         ("Au plus", "At most"), ("Unité", "Unit")),
    ),
    "buildings.rooms": (
        ("Les salles les plus confinées", "The most confined rooms"),
        (("Salle", "Room"), ("ICONE", "ICONE"), ("Heures à 1 500 ppm, %", "Hours at 1,500 ppm, %"),
         ("Heures connues, %", "Hours known, %")),
    ),
    "buildings.leaks": (
        ("Fuites d’eau", "Water leaks"),
        (("Bâtiment", "Building"), ("Litres", "Litres"), ("Nuits", "Nights"), ("Du", "From"), ("Au", "To")),
    ),
    "network.worst": (
        ("Les équipements les moins bien reçus", "The assets that are received worst"),
        (("Équipement", "Asset"), ("Trames perdues, %", "Frames lost, %"),
         ("Marge moyenne, dB", "Mean margin, dB")),
    ),
    "sensors.silent": (
        ("Sans nouvelles le plus longtemps", "Unheard for longest"),
        (("Équipement", "Asset"), ("Jours sans nouvelles", "Days unheard"), ("Jours suivis", "Days followed")),
    ),
}  # fmt: skip
USE_NAMES: dict[str, Words] = {
    "electricity": ("électricité", "electricity"),
    "gas": ("gaz", "gas"),
    "heat": ("chaleur", "heat"),
    "water": ("eau", "water"),
}
MONTHS: tuple[Words, ...] = (
    ("janvier", "January"), ("février", "February"), ("mars", "March"), ("avril", "April"), ("mai", "May"),
    ("juin", "June"), ("juillet", "July"), ("août", "August"), ("septembre", "September"),
    ("octobre", "October"), ("novembre", "November"), ("décembre", "December"),
)  # fmt: skip

SHORT_MONTHS: tuple[Words, ...] = (
    ("janv.", "Jan"), ("févr.", "Feb"), ("mars", "Mar"), ("avr.", "Apr"), ("mai", "May"), ("juin", "Jun"),
    ("juil.", "Jul"), ("août", "Aug"), ("sept.", "Sep"), ("oct.", "Oct"), ("nov.", "Nov"), ("déc.", "Dec"),
)  # fmt: skip


def said(words: Words, language: Language) -> str:
    """Of both, the one of this language."""
    return words[LANGUAGES.index(language)]


def month_name(month: str | date, language: Language) -> str:
    """As "octobre 2026"."""
    first = first_of(month) if isinstance(month, str) else month
    return f"{said(MONTHS[first.month - 1], language)} {first.year}"


def of_month(month: str | date, language: Language) -> str:
    """As "d’octobre 2026" or "de mars 2026"; in English "October 2026"."""
    name = month_name(month, language)
    if language == "en":
        return name
    return f"d’{name}" if name[0] in "ao" else f"de {name}"


def number(value: float, decimals: int, language: Language) -> str:
    """As people of this language write it."""
    written = f"{value:,.{decimals}f}"
    if float(written.replace(",", "")) == 0:
        written = written.lstrip("-")
    if language == "en":
        return written
    return written.replace(",", THIN).replace(".", ",")


def unit_of(id_: str, language: Language) -> str:
    """The unit of a figure as it is written behind the number."""
    unit = FIGURES[id_].unit
    if unit == "sur 5":
        return said(("sur 5", "of 5"), language)
    if unit == "°C·j":
        return said(("°C·j", "°C·d"), language)
    return said(UNIT_WORDS.get(unit, (unit, unit)), language)


def why(unknown: Unknown | None, language: Language) -> str:
    """Why there is no figure."""
    return said(UNKNOWN[unknown or Unknown.NOT_MEASURED], language)


def amount_text(id_: str, amount: Amount | None, language: Language) -> str:
    """As "1 234 kWh (3 sur 5)", or that it is unknown and why; a dash: there is nothing to compare with."""
    if amount is None:
        return "–"
    if amount.value is None:
        if amount.unknown is Unknown.NOTHING_THERE:
            return "–"
        lead = said(("inconnu", "unknown"), language)
        return f"{lead} ({why(amount.unknown, language)})"
    text = f"{number(amount.value, FIGURES[id_].decimals, language)} {unit_of(id_, language)}".strip()
    if amount.known is not None and amount.known != amount.of:
        text += f" ({amount.known} {said(('sur', 'of'), language)} {amount.of})"
    return text


def change_text(percent: float | None, language: Language) -> str:
    """As "+12 %"; nothing where there is none."""
    if percent is None:
        return ""
    digits = number(abs(percent), 0, language)
    sign = "" if digits == "0" else ("+" if percent > 0 else "−")
    return f"{sign}{digits} %"


def row_texts(id_: str, row: Sequence[Cell], language: Language) -> list[str]:
    """The cells of a row of this table."""
    _, columns = TABLES[id_]
    return [_cell(cell, column, language) for cell, column in zip(row, columns, strict=True)]


def _cell(cell: Cell, column: Words, language: Language) -> str:
    if cell is None:
        return said(("inconnu", "unknown"), language)
    if isinstance(cell, str):
        return said(USE_NAMES[cell], language) if column == USE else cell
    return number(cell, 0 if cell == int(cell) or abs(cell) >= OF_FOUR_DIGITS else 1, language)
