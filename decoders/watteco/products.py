"""Watteco's products, as products.toml describes them: what endpoints mean, and how batches are laid out."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from core.model.plausibility import SensorRange, sensor_ranges_of
from decoders.tables import read_table
from decoders.watteco.batch import Layout, Series
from decoders.watteco.bits import Sample


class Meaning(NamedTuple):
    """What a report of one value is on this product: the reading is value / `divisor`."""

    quantity: str
    channel: str = ""
    divisor: float = 1.0


# (cluster, attribute, endpoint) -> its meaning here, where it is not the cluster's.
Meanings = Mapping[tuple[int, int, int], Meaning]


class Product(NamedTuple):
    """A product: its name for people, its batches, its endpoints, its relays, and what its sensors measure."""

    title: str
    batch: Layout | None = None
    meanings: Meanings = MappingProxyType({})
    relays: int = 0
    ranges: tuple[SensorRange, ...] = ()


def _series(described: Mapping[str, Any]) -> Series:
    given: dict[str, Any] = {**described, "sample": Sample[described["sample"]]}
    return Series(**given)


def _meaning(described: Mapping[str, Any]) -> tuple[tuple[int, int, int], Meaning]:
    given = dict(described)
    where = given.pop("cluster"), given.pop("attribute"), given.pop("endpoint")
    return where, Meaning(**given)


def _product(described: Mapping[str, Any]) -> Product:
    series = tuple(_series(one) for one in described.get("series", ()))
    layout = Layout(described["tag_bits"], series) if series else None
    meanings = dict(_meaning(one) for one in described.get("meanings", ()))
    ranges = sensor_ranges_of(described.get("ranges", ()))
    return Product(described["title"], layout, meanings, described.get("relays", 0), ranges)


PRODUCTS = {name: _product(described) for name, described in read_table("watteco/products.toml").items()}
