"""Valid messages that were recorded, or are published: what mutations begin with. They are kept with the tests."""

import json
from functools import cache
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]
VECTORS = CHECKOUT / "tests" / "vectors"
# `{"kind", "topic", "headers", "body"}`, as `tests/contracts/lns_samples.py` writes them of one uplink.
LNS_MESSAGES = VECTORS / "lns_messages.jsonl"
# As the station 2.0.6 wrote them.
STATION_MESSAGES = VECTORS / "station_messages.jsonl"
DECLARATIONS = ("dingtek/df702.yaml", "teneo/fill.yaml")


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]


@cache
def payloads() -> tuple[dict[str, Any], ...]:
    """The golden vectors of native codecs: `codec`, `f_port`, `bytes_hex`, `time_us`, `options`."""
    found = [one for path in sorted(VECTORS.glob("*.jsonl")) for one in lines_of(path)]
    return tuple(one for one in found if "codec" in one and "bytes_hex" in one and "f_port" in one)


@cache
def lns_messages() -> tuple[dict[str, Any], ...]:
    """One message of each LNS."""
    return tuple(lines_of(LNS_MESSAGES))


@cache
def station_messages() -> tuple[dict[str, Any], ...]:
    """What a station says: version, uplinks, a join, what it transmitted, its questions about the time."""
    return tuple(lines_of(STATION_MESSAGES))


@cache
def declarations() -> tuple[str, ...]:
    """Tables that are shipped, and those of the guide."""
    guide = (CHECKOUT / "docs" / "codec-declaratif.md").read_text("utf-8")
    of_guide = [part.partition("```")[0] for part in guide.split("```yaml\n")[1:]]
    shipped = [(CHECKOUT / "decoders" / name).read_text("utf-8") for name in DECLARATIONS]
    return tuple(shipped + [one for one in of_guide if "codec:" in one])
