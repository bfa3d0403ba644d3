"""Differences of a counter between the edges of buckets, never summed from smaller differences."""

from collections.abc import Sequence

from api.bucket_store import Bucket


def differences(buckets: Sequence[Bucket], before: float | None) -> list[float | None]:
    """By bucket: the last index at its end less the last at its beginning.

    `before` is the last index up to the first bucket; without one, counting begins with the first reading. None
    where nothing can be said: no sound reading, or an index that fell (a meter was replaced or set back).
    """
    risen: list[float | None] = []
    start = before
    for bucket in buckets:
        if bucket.last is None or bucket.minimum is None:
            risen.append(None)
            continue
        begin = bucket.first if start is None else start
        fell = begin is None or bucket.minimum < begin or bucket.last < bucket.minimum
        risen.append(None if fell or begin is None else bucket.last - begin)
        start = bucket.last
    return risen
