"""A token bucket that is given the time."""

from dataclasses import dataclass


@dataclass(slots=True)
class Budget:
    """`burst` messages at once, `per_second` in the long run."""

    per_second: float
    burst: float
    left: float
    at: float

    @classmethod
    def full(cls, per_second: float, burst: float, now: float) -> "Budget":
        """Nothing spent yet; seconds of any clock that does not go back."""
        return cls(per_second, burst, burst, now)

    def spend(self, now: float) -> bool:
        """Whether one more message is within the budget; it is spent if so."""
        self.left = min(self.burst, self.left + (now - self.at) * self.per_second)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True
