from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from network.uplink_report import CountedHistogram

BUCKETS = (1, 2, 3, 6)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 50))))
def test_it_shows_what_the_librarys_own_would_after_as_many_single_observations(
    observed: list[tuple[int, int]],
) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    counted = CountedHistogram("copies", "Copies", BUCKETS, ours)
    single = Histogram("copies", "Copies", buckets=BUCKETS, registry=theirs)

    for value, times in observed:
        counted.observe(value, times)
        for _ in range(times):
            single.observe(value)

    def samples(registry: CollectorRegistry) -> dict[tuple[str, str], float]:
        return {
            (sample.name, sample.labels.get("le", "")): sample.value
            for metric in registry.collect()
            for sample in metric.samples
            if not sample.name.endswith("_created")
        }

    assert samples(ours) == samples(theirs)
