"""A token bucket for each source's pushes. Pure."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


@dataclass(slots=True)
class Rates:
    """Buckets of `burst` requests that fill with `per_second`; `now` is of any monotonic clock, in seconds."""

    per_second: float
    burst: float
    _buckets: dict[int, _Bucket] = field(default_factory=dict[int, _Bucket])

    def wait_s(self, source_id: int, now: float) -> float:
        """0 when the request may pass, which it then has; otherwise how long until one may."""
        bucket = self._buckets.setdefault(source_id, _Bucket(self.burst, now))
        bucket.tokens = min(self.burst, bucket.tokens + (now - bucket.at) * self.per_second)
        bucket.at = now
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0.0
        return (1 - bucket.tokens) / self.per_second
