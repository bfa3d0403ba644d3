"""How busy this process's database pools are, read when somebody asks for the metrics."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class _Pools(Collector):
    _labelnames = ("pool",)  # As the library's own metrics say what theirs are.

    def __init__(self) -> None:
        self._pools: list[tuple[str, Any]] = []

    @contextmanager
    def watched(self, name: str, pool: Any) -> Generator[None]:
        """Show this pool while the block runs."""
        entry = (name, pool)
        self._pools.append(entry)
        try:
            yield
        finally:
            self._pools = [other for other in self._pools if other is not entry]

    def describe(self) -> Iterable[Metric]:
        """The names alone; registering asks for them."""
        return _families()

    def collect(self) -> Iterable[Metric]:
        """As of this instant."""
        families = _families()
        by_name: dict[str, list[Any]] = {}
        for name, pool in self._pools:
            by_name.setdefault(name, []).append(pool)
        for name, pools in by_name.items():
            for family, *values in zip(families, *map(_measures, pools), strict=True):
                family.add_metric([name], sum(values))
        return families


def _measures(pool: Any) -> tuple[int, int, int, int]:
    """In the order of `_NAMES`. Who waits the driver does not say: its queue of free connections knows them."""
    getters = getattr(getattr(pool, "_queue", None), "_getters", ())
    waiting = sum(not getter.done() for getter in getters)
    return pool.get_size(), pool.get_idle_size(), pool.get_max_size(), waiting


_NAMES = (
    ("territoire_database_pool_size", "Connections that are open"),
    ("territoire_database_pool_free", "Connections that are open and used by nobody"),
    ("territoire_database_pool_limit", "Connections that may be open"),
    ("territoire_database_pool_waiting", "Tasks that wait for a connection"),
)


def _families() -> list[GaugeMetricFamily]:
    return [GaugeMetricFamily(name, documentation, labels=["pool"]) for name, documentation in _NAMES]


POOLS = _Pools()
REGISTRY.register(POOLS)
