"""What each replica did over a while, from its own /metrics."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from lab.bench.metrics import Counters, read_counters
from services.supervisor.run_info import RunInfo

# What counts as a service's work: metric, and what one of its labels must be; None: whatever it is.
WORK: Mapping[str, tuple[str, str | None]] = {
    "gateway_bridge": ("territoire_gateway_bridge_uplinks_total", "forwarded"),
    "network": ("territoire_network_frames_total", "accepted"),
    "ingest": ("territoire_ingest_measurements_total", None),
    "alerting": ("territoire_alerting_rules_evaluated_total", None),
    "lighting": ("territoire_lighting_commands_total", None),
    "intake": ("territoire_intake_messages_total", "accepted"),
    "api": ("territoire_api_http_request_duration_seconds_count", "/v1/assets"),
    "maintenance": ("territoire_maintenance_passes_total", "done"),
    "indicators": ("territoire_indicators_passes_total", "done"),
}


def work_done(counters: Counters, service: str) -> int:
    """How much of its work a replica has counted."""
    metric, label = WORK[service]
    return sum(
        count
        for (name, labels), count in counters.items()
        if name == metric and (label is None or label in labels)
    )


async def read_shares(run: RunInfo) -> dict[str, int]:
    """What every replica has counted so far, by the name of the child."""
    children = [(service, one.name) for service in WORK for one in run.replicas(service)]
    counted = await asyncio.gather(*(read_counters(run, child) for _, child in children))
    return {child: work_done(one, service) for (service, child), one in zip(children, counted, strict=True)}


@dataclass(frozen=True, slots=True)
class Shares:
    """What each replica of each service did in between."""

    by_service: Mapping[str, Mapping[str, int]]

    @classmethod
    def between(cls, before: Mapping[str, int], after: Mapping[str, int]) -> "Shares":
        """The difference of two looks."""
        done = {child: count - before.get(child, 0) for child, count in after.items()}
        return cls(
            {
                service: {child: count for child, count in done.items() if child.rpartition("-")[0] == service}
                for service in WORK
            }
        )

    @property
    def idle(self) -> list[str]:
        """Replicas that did nothing."""
        return [child for replicas in self.by_service.values() for child, count in replicas.items() if not count]
