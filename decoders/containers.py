"""Computes a fill level from a measured distance and the container's geometry.

Formula and limits: docs/decoders-formats.md, "Containers: from a distance to a fill level".

Distances are those that the sensor reports: ultrasonic sensors with a thermometer, such as the EM400,
compensate the speed of sound themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

# Beyond the empty container by more than this share, the echo came from elsewhere: the lid is open.
ECHO_TOLERANCE = 0.15
FARTHEST_MM = 50_000
_KEYS = frozenset({"empty_distance_mm", "full_distance_mm", "dead_zone_mm", "table"})


class InvalidGeometry(ValueError):
    """The asset's container cannot be used as it is described; the message, in French, says why."""


@dataclass(frozen=True, slots=True)
class ContainerGeometry:
    """A container as the sensor sees it: (distance in mm, percent full), distances falling as it fills.

    A prismatic container needs two points, any other body a table of them. Within the dead zone the sensor
    measures nothing right, except that something is very near.
    """

    points: tuple[tuple[float, float], ...]
    dead_zone_mm: float = 0.0


def geometry_of(attributes: Mapping[str, Any]) -> ContainerGeometry | None:
    """The geometry in an asset's attributes; None when they describe no container.

    `{"container": {"empty_distance_mm": 1700, "full_distance_mm": 300, "dead_zone_mm": 250}}`, or instead of
    the two distances `"table": [[1700, 0], [900, 40], [300, 100]]`. Raises InvalidGeometry when no level
    follows from what they describe.
    """
    described: Any = attributes.get("container")
    if described is None:
        return None
    if not isinstance(described, Mapping):
        raise InvalidGeometry("« container » doit être un objet")
    container = cast("Mapping[str, Any]", described)
    unknown = sorted(set(map(str, container)) - _KEYS)
    if unknown:
        raise InvalidGeometry(
            f"« container » : {', '.join(unknown)} inconnu (attendu : {', '.join(sorted(_KEYS))})"
        )
    points = _table(container) if "table" in container else _prism(container)
    dead_zone = _distance(container.get("dead_zone_mm", 0), "dead_zone_mm")
    if dead_zone >= points[0][0]:
        raise InvalidGeometry(f"« dead_zone_mm » ({dead_zone:g}) va jusqu'au fond ({points[0][0]:g} mm)")
    return ContainerGeometry(points, dead_zone)


def fill_level(distance_mm: float, geometry: ContainerGeometry) -> float | None:
    """How full the container is, 0 to 100 %; None when the distance cannot be an echo of this container.

    The caller flags the measure and warns a technician: the sensor is badly set, or was moved.
    """
    (empty_at, empty_percent), (full_at, full_percent) = geometry.points[0], geometry.points[-1]
    if not 0 < distance_mm <= empty_at * (1 + ECHO_TOLERANCE):  # NaN too.
        return None
    if distance_mm <= geometry.dead_zone_mm:
        return 100.0
    if distance_mm >= empty_at:
        return empty_percent
    if distance_mm <= full_at:
        return full_percent
    far, less, near, more = next(
        (far, less, near, more) for (far, less), (near, more) in pairwise(geometry.points) if distance_mm >= near
    )
    return round(less + (far - distance_mm) / (far - near) * (more - less), 2)


def _prism(container: Mapping[str, Any]) -> tuple[tuple[float, float], ...]:
    empty = _distance(container.get("empty_distance_mm"), "empty_distance_mm")
    full = _distance(container.get("full_distance_mm"), "full_distance_mm")
    if empty <= full:
        raise InvalidGeometry(
            f"vide à {empty:g} mm et plein à {full:g} mm : la distance doit diminuer en se remplissant"
        )
    return ((empty, 0.0), (full, 100.0))


def _table(container: Mapping[str, Any]) -> tuple[tuple[float, float], ...]:
    if not container.keys().isdisjoint({"empty_distance_mm", "full_distance_mm"}):
        raise InvalidGeometry("« table » donne déjà les distances du vide et du plein : retirer les deux autres")
    table: object = container["table"]
    if not isinstance(table, Sequence) or isinstance(table, str):
        raise InvalidGeometry("« table » doit être une liste de couples [distance en mm, pourcentage]")
    points: list[tuple[float, float]] = []
    for entry in cast("Sequence[Any]", table):
        try:
            distance, percent = entry
        except (TypeError, ValueError):
            raise InvalidGeometry(f"« table » : {entry!r} n'est pas un couple [distance, pourcentage]") from None
        points.append((_distance(distance, "table"), _number(percent, "table", "un pourcentage", 100)))
    falls = all(before[0] > after[0] and before[1] < after[1] for before, after in pairwise(points))
    if len(points) < 2 or not falls:  # noqa: PLR2004 - A line needs two points.
        raise InvalidGeometry(
            "« table » : deux points au moins, la distance diminue quand le remplissage augmente"
        )
    return tuple(points)


def _distance(value: Any, name: str) -> float:
    return _number(value, name, "une distance en millimètres", FARTHEST_MM)


def _number(value: Any, name: str, what: str, most: float) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most:  # NaN is not.
        return float(value)
    raise InvalidGeometry(f"« {name} » doit être {what}, de 0 à {most:g}, pas {value!r}")
