"""What a service remembers of each device, in octets of memory: `python -m lab.bench.footprint`.

The very objects that services keep, twenty thousand devices' worth, five datastreams each with a rule; and frames
that wait in a bridge for a bus that is away. What network keeps of a session is in `lab.bench.takeover`.
"""

import gc
import os
import random
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alerting.engine_store import StateKey, StateRow, Watched
from alerting.rules.model import Condition, RuleState
from alerting.shard_memory import Memory
from cli.running import print_json
from core.messages.frames import GatewayFrame
from gateways.semtech_udp import frames_of
from ingest.pipeline import KnownDevice, Serving
from lab.gateway import rxpk
from lab.load.pacer import ON_CHANNELS
from lorawan.gateway.semtech_udp import PushData, parse_datagram

DEVICES, FRAMES = 20_000, 200_000
QUANTITIES = ("temperature", "co2", "relative_humidity", "illuminance", "battery_level")
FIRST_DEVICE, FIRST_STREAM = 2_000_000, 10_000_000
PAYLOAD_OCTETS = 35


def alerting() -> object:
    """Datastreams and the states of one rule for each."""
    now, memory, watched = datetime.now(UTC), Memory(), list[Watched]()
    for device in range(FIRST_DEVICE, FIRST_DEVICE + DEVICES):
        memory.received_until[device, None] = now + timedelta(microseconds=device)
        for place, quantity in enumerate(QUANTITIES):
            number = FIRST_STREAM + device * len(QUANTITIES) + place
            interval, moved = timedelta(minutes=15), now + timedelta(microseconds=number)
            watched.append(Watched(number, 1, device, device, quantity, "room", interval, (), 48.0 + device / 1e9))
            key, value = StateKey(7, number), 20.0 + number / 1e9
            state = RuleState(Condition.OK, moved, 0, moved, value, False)
            memory.states[key] = StateRow(1, key, state, None, device % 16)
    return memory, watched


def ingest() -> object:
    """Devices, what they serve, and their datastreams."""
    known: dict[int, KnownDevice] = {}
    for device in range(FIRST_DEVICE, FIRST_DEVICE + DEVICES):
        serving = Serving(1, device, device)
        for place, quantity in enumerate(QUANTITIES):
            serving.remember("", quantity, FIRST_STREAM + device * len(QUANTITIES) + place)
        name, unassigned = f"Capteur {device}", Serving(1, None, device)
        known[device] = KnownDevice(
            device, 5, "elsys.ers_co2", None, {}, (serving,), unassigned, device.to_bytes(8), name
        )
    return known


def waiting_frames() -> object:
    """Frames as datagrams bring them, one in each."""
    source, signals, kept = random.Random("footprint"), rxpk.signals("footprint"), list[GatewayFrame]()
    for number in range(FRAMES):
        common = rxpk.common_part(
            b"2026-11-25T20:00:00.%06dZ" % number,
            ON_CHANNELS[number & 7],
            b"\x40" + source.randbytes(PAYLOAD_OCTETS),
        )
        one_rxpk = rxpk.rxpk(number, signals[number & 0xFF], common)
        datagram = parse_datagram(rxpk.push_data(number, (number % 500).to_bytes(8), [one_rxpk]))
        if isinstance(datagram, PushData):
            for one in datagram.rxpks:
                kept += frames_of(one, datagram.gateway_id, number, 0)
    return kept


def octets_of(make: Callable[[], object], count: int, kept: list[object]) -> int:
    """How much the process grows by what is made, for each; it is kept, or the next would be made in its room."""
    before = _resident()
    kept.append(make())
    return round((_resident() - before) / count)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGESIZE")


def main() -> int:
    """Print one JSON object."""
    gc.disable()
    kept: list[object] = []
    figures = {
        "alerting_octets_per_device": octets_of(alerting, DEVICES, kept),
        "ingest_octets_per_device": octets_of(ingest, DEVICES, kept),
        "octets_per_waiting_frame": octets_of(waiting_frames, FRAMES, kept),
    }
    print_json(figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
