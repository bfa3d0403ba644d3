"""Strangers in the name of live gateways: the test of takeovers, with a thousand downlinks for each protocol."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import msgspec

if TYPE_CHECKING:
    from rich.table import Table

TEST = "tests/gateways/test_takeover.py"
CHOSEN = "any_protocol"
DOWNLINKS_SETTING = "TERRITOIRE_TEST_TAKEOVER_DOWNLINKS"
PROPERTY = "takeover_"
OWNERS = ("semtech_udp", "chirpstack_mqtt", "basics_station")


def play(downlinks: int) -> list[dict[str, Any]]:
    """What the test has counted, for each protocol of the gateway; one that failed is not among them."""
    checkout = Path(__file__).parents[2]
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        argv = [sys.executable, "-P", "-m", "pytest", "-n", "0", TEST, "-k", CHOSEN, f"--junit-xml={results}"]
        environment = os.environ | {DOWNLINKS_SETTING: str(downlinks)}
        subprocess.run(argv, check=False, cwd=checkout, env=environment, stdout=sys.stderr)
        if not results.exists():
            return []
        properties = ET.parse(results).iter("property")
        named = [(one.get("name", ""), one.get("value", "")) for one in properties]
        return [msgspec.json.decode(value) for name, value in named if name.startswith(PROPERTY)]


def takeover_table(figures: list[dict[str, Any]]) -> "Table":
    """A line for each protocol of a gateway."""
    from rich.table import Table

    table = Table("passerelle", "descendantes", "volées", "essais d'inconnus", "listés")
    for one in figures:
        shown = [
            ", ".join(f"{name} {times}" for name, times in sorted(one[kind].items()))
            for kind in ("attempts", "listed")
        ]
        table.add_row(one["owner"], str(one["done"]), str(one["stolen"]), *shown)
    return table
