"""Token buckets: `burst` at once, `per_second` in the long run. Pure: `now`, in seconds, is an argument."""

from dataclasses import dataclass


@dataclass(slots=True)
class TokenBucket:
    """A clock that goes back gives nothing and takes nothing."""

    per_second: float
    burst: float
    tokens: float
    counted_at: float

    @classmethod
    def full(cls, per_second: float, burst: float, now: float) -> "TokenBucket":
        """Nothing taken yet."""
        return cls(per_second, burst, burst, now)

    def take_token(self, now: float) -> bool:
        """Whether there was a token; it is gone if so."""
        self.tokens = self.tokens_at(now)
        self.counted_at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def tokens_at(self, now: float) -> float:
        """How many there are, of which none is taken."""
        return min(self.burst, self.tokens + max(0.0, now - self.counted_at) * self.per_second)

    def wait_s(self) -> float:
        """How long after the last attempt there is a token."""
        return max(0.0, 1 - self.tokens) / self.per_second
