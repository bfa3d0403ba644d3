"""What became of the class A answers that confirmed uplinks wait for: in RX1, in RX2, in neither."""

from dataclasses import dataclass


@dataclass(slots=True)
class Answers:
    """Counts of one device or of many. `awaited`: confirmed uplinks that at least one gateway forwarded."""

    awaited: int = 0
    rx1: int = 0
    rx2: int = 0
    outside: int = 0  # Downlinks on the air when the device they were for did not listen there.

    @property
    def neither(self) -> int:
        """Confirmed uplinks without an answer."""
        return self.awaited - self.rx1 - self.rx2

    def record_acknowledgement(self, *, in_rx1: bool) -> None:
        """An acknowledgement was received in one of its windows."""
        if in_rx1:
            self.rx1 += 1
        else:
            self.rx2 += 1

    def since(self, before: "Answers") -> "Answers":
        """What was counted after `before`, a copy of these counts."""
        return Answers(
            self.awaited - before.awaited,
            self.rx1 - before.rx1,
            self.rx2 - before.rx2,
            self.outside - before.outside,
        )
