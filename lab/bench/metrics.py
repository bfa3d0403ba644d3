"""Counters of a stack's services, as their /metrics show them."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from services.supervisor.run_info import RunInfo, read_run_info

TIMEOUT_S = 5
# Which of the samples of a metric of this kind counts.
KINDS = {"counter": "_total", "histogram": "_count"}
Counters = Counter[tuple[str, tuple[str, ...]]]


def counters_of(exposition: str) -> Counters:
    """The counters of one process by name and label values, in the order of the labels' names.

    What a histogram counts is among them, as `..._count`.
    """
    found: Counters = Counter()
    for family in text_string_to_metric_families(exposition):
        if family.type not in KINDS:
            continue
        for sample in family.samples:
            if sample.name.endswith(KINDS[family.type]):
                labels = tuple(value for _, value in sorted(sample.labels.items()))
                found[sample.name, labels] += round(sample.value)
    return found


async def read_counters(run: RunInfo, service: str) -> Counters:
    """The counters of all replicas of a service, added up."""
    found: Counters = Counter()
    async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
        for replica in read_run_info(Path(run.home)).replicas(service):
            if replica.health_url is not None:
                answer = await client.get(f"{replica.health_url}/metrics")
                found += counters_of(answer.raise_for_status().text)
    return found


def by_label(before: Counters, after: Counters, name: str) -> dict[str, int]:
    """What one metric counted in between, by the last of its labels; what did not move is left out."""
    moved: Counter[str] = Counter()
    for (metric, labels), count in after.items():
        if metric == name and count != before[metric, labels]:
            moved[labels[-1] if labels else ""] += count - before[metric, labels]
    return dict(sorted(moved.items()))


def total(moved: Mapping[str, int], *labels: str) -> int:
    """The sum over these labels."""
    return sum(moved.get(label, 0) for label in labels)
