"""Counts the measurements that webhooks brought, once for each message: for chaos, the demonstration and tests."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from lab.simulator.receiver import Received

TYPE = "measurements.changed"


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a receiver was sent of one webhook of measurements; what came again under its id counts once."""

    received: Received
    webhook_id: int

    @property
    def batches(self) -> list[dict[str, Any]]:
        """The `data` of each batch, as they arrived."""
        return [
            body["data"]
            for body in self.received.bodies
            if body["type"] == TYPE and body["data"]["measurement_webhook"] == self.webhook_id
        ]

    @property
    def items(self) -> list[dict[str, Any]]:
        """All changes, in the order in which they arrived."""
        return [item for batch in self.batches for item in batch["items"]]

    def counted(self, *changes: str) -> Counter[tuple[int, str]]:
        """By datastream and instant, how often it was brought; of these kinds of change, or of all."""
        return Counter(
            (item["datastream_id"], item["time"])
            for item in self.items
            if not changes or item["change"] in changes
        )

    @property
    def wrong(self) -> list[str]:
        """What is wrong with the numbers of the batches, which are whole and in order when nothing is."""
        numbers = [batch["sequence"] for batch in self.batches]
        expected = list(range(numbers[0], numbers[0] + len(numbers))) if numbers else []
        return [] if numbers == expected else [f"lots {numbers} au lieu de {expected}"]
