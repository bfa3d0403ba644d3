from collections import Counter

from lab.bench.metrics import by_label, counters_of, total

BEFORE = """\
# HELP frames_total Frames
# TYPE frames_total counter
frames_total{mtype="join_request",outcome="accepted"} 2.0
frames_total{mtype="unconfirmed_data_up",outcome="accepted"} 10.0
frames_total{mtype="unconfirmed_data_up",outcome="mic"} 1.0
# TYPE frames_created gauge
frames_created{mtype="join_request",outcome="accepted"} 1.79e9
# TYPE drops_total counter
drops_total 3.0
# TYPE pass_seconds histogram
pass_seconds_bucket{le="0.1"} 7.0
pass_seconds_count 7.0
"""
AFTER = BEFORE.replace('"accepted"} 10.0', '"accepted"} 110.0').replace("} 2.0", "} 5.0").replace(" 3.0", " 8.0")


def test_counters_are_read_and_what_histograms_count() -> None:
    assert counters_of(BEFORE) == Counter(
        {
            ("frames_total", ("join_request", "accepted")): 2,
            ("frames_total", ("unconfirmed_data_up", "accepted")): 10,
            ("frames_total", ("unconfirmed_data_up", "mic")): 1,
            ("drops_total", ()): 3,
            ("pass_seconds_count", ()): 7,
        }
    )


def test_what_moved_is_counted_by_the_last_label() -> None:
    before, after = counters_of(BEFORE), counters_of(AFTER)

    assert by_label(before, after, "frames_total") == {"accepted": 103}
    assert by_label(before, after, "drops_total") == {"": 5}
    assert total(by_label(before, after, "frames_total"), "accepted", "restarted") == 103
