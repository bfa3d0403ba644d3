"""What is kept of other LNS for fuzzing is what samples write."""

import json
import time

import pytest

from lab.fuzz.recorded import lns_messages
from tests.contracts.lns_samples import SAMPLES, SampleUplink

UPLINK = SampleUplink(1_795_597_200_123_000, bytes.fromhex("70b3d57ed0001234"), bytes.fromhex("0080e115000a9b72"))


def test_recorded_messages_are_those_of_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")  # ThingPark writes local time.
    time.tzset()
    written = {name: sample.write(UPLINK) for name, sample in SAMPLES.items()}

    assert {one["name"]: (one["kind"], one["topic"], one["headers"], one["body"]) for one in lns_messages()} == {
        name: (SAMPLES[name].kind, message.topic, dict(message.headers), json.loads(message.body))
        for name, message in written.items()
    }
