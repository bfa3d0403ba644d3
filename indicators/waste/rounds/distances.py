"""How far each place is from each, in metres and seconds: on a sphere, from a given table, from OSRM. Pure."""

from collections.abc import Iterator, Sequence
from math import asin, cos, radians, sin, sqrt
from typing import Any, cast

from indicators.waste.rounds.model import Distances, Place

EARTH_RADIUS_M = 6_371_008.8  # The mean radius (IUGG).
# Roads are longer than a line through the air.
DETOUR = 1.3
KMH_TO_MS = 3.6
# What is further than this is no number of a road: half of the Earth's girth, and a year.
METRES_MOST, SECONDS_MOST = 20_100_000, 31_536_000
# OSRM answers at most 100 places at once unless its operator says otherwise: so many rows and columns.
BLOCK = 50


class UnusableDistances(ValueError):
    """What is wrong with a table of distances, in French."""


def great_circle(places: Sequence[Place], speed_kmh: float, note: str = "") -> Distances:
    """Lines through the air, times 1.3, at one speed."""
    metres = tuple(tuple(round(DETOUR * metres_between(one, other)) for other in places) for one in places)
    return Distances("great_circle", metres, _seconds_at(metres, speed_kmh), note)


def metres_between(one: Place, other: Place) -> float:
    """On a sphere (haversine)."""
    north = radians(other.latitude - one.latitude)
    east = radians(other.longitude - one.longitude)
    half = sin(north / 2) ** 2 + cos(radians(one.latitude)) * cos(radians(other.latitude)) * sin(east / 2) ** 2
    return 2 * EARTH_RADIUS_M * asin(min(1.0, sqrt(half)))


def given_matrix(
    metres: Sequence[Sequence[float]],
    seconds: Sequence[Sequence[float]] | None,
    chosen: Sequence[int],
    speed_kmh: float,
) -> Distances:
    """Of a table that somebody gives, these rows and columns; without seconds at one speed.

    Raises:
        UnusableDistances: it is not square, or has what is no distance.
    """
    whole = checked(metres, METRES_MOST, "mètres")
    taken = _taken(whole, chosen)
    if seconds is None:
        return Distances("matrix", taken, _seconds_at(taken, speed_kmh))
    lasting = checked(seconds, SECONDS_MOST, "secondes")
    if len(lasting) != len(whole):
        raise UnusableDistances("les deux tables n'ont pas la même taille")
    return Distances("matrix", taken, _taken(lasting, chosen))


def _taken(table: Sequence[Sequence[int]], chosen: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(0 if row == column else table[row][column] for column in chosen) for row in chosen)


def checked(table: Sequence[Sequence[float | None]], most: int, unit: str) -> tuple[tuple[int, ...], ...]:
    """A square table of whole numbers.

    Raises:
        UnusableDistances: it is none.
    """
    if any(len(row) != len(table) for row in table):
        raise UnusableDistances(f"la table des {unit} doit être carrée")
    if any(value is None for row in table for value in row):
        raise UnusableDistances("un des lieux n'est relié aux autres par aucune route")
    known = cast(Sequence[Sequence[float]], table)
    if any(not 0 <= value <= most for row in known for value in row):
        raise UnusableDistances(f"la table des {unit} a une valeur négative ou démesurée")
    return tuple(tuple(round(value) for value in row) for row in known)


def _seconds_at(metres: Sequence[Sequence[int]], speed_kmh: float) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(round(value * KMH_TO_MS / speed_kmh) for value in row) for row in metres)


def osrm_blocks(places: Sequence[Place]) -> Iterator[tuple[range, range, str]]:
    """What to ask OSRM's table service: rows, columns, and the address after its base."""
    blocks = [range(start, min(start + BLOCK, len(places))) for start in range(0, len(places), BLOCK)]
    for rows in blocks:
        for columns in blocks:
            asked = [places[number] for number in (rows if rows == columns else (*rows, *columns))]
            path = ";".join(f"{one.longitude:.6f},{one.latitude:.6f}" for one in asked)
            first = 0 if rows == columns else len(rows)
            sources = ";".join(map(str, range(len(rows))))
            destinations = ";".join(map(str, range(first, first + len(columns))))
            asked_of = f"{path}?annotations=distance,duration&sources={sources}&destinations={destinations}"
            yield rows, columns, f"/table/v1/driving/{asked_of}"


def osrm_distances(size: int, answers: Sequence[tuple[range, range, Any]]) -> Distances:
    """From the answers to all blocks.

    Raises:
        UnusableDistances: one of them is no table of distances and durations.
    """
    metres: list[list[float | None]] = [[None] * size for _ in range(size)]
    seconds: list[list[float | None]] = [[None] * size for _ in range(size)]
    for rows, columns, answer in answers:
        for table, name in ((metres, "distances"), (seconds, "durations")):
            for row, values in zip(rows, _block(answer, name, len(rows), len(columns)), strict=True):
                table[row][columns.start : columns.stop] = values
    return Distances("osrm", checked(metres, METRES_MOST, "mètres"), checked(seconds, SECONDS_MOST, "secondes"))


def _block(answer: Any, name: str, rows: int, columns: int) -> list[list[float | None]]:
    fields = cast(dict[str, Any], answer) if isinstance(answer, dict) else {}
    table = _table(fields.get(name))
    if fields.get("code") != "Ok" or len(table) != rows or any(len(row) != columns for row in table):
        raise UnusableDistances(f"OSRM a répondu autre chose qu'une table ({str(fields.get('code'))[:40]})")
    return table


def _table(given: Any) -> list[list[float | None]]:
    rows = cast(list[Any], given) if isinstance(given, list) else []
    return [[_number(value) for value in cast(list[Any], row)] for row in rows if isinstance(row, list)]


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
