"""What docs/decoders.md shows is what happens: its script, its mapping, its table and its commands."""

import json
import re
from pathlib import Path

from typer.main import get_command

from cli.app import app
from decoders.declarative import parse
from decoders.javascript.inputs import downlink_input, uplink_input
from decoders.javascript.pool import Call, CodecPool, Script
from decoders.mapping import Mapping, apply, propose

GUIDE = (Path(__file__).parents[2] / "docs" / "decoders.md").read_text("utf-8")
FRAME = bytes.fromhex("06D6FFF65C00000F06D2")
RECEIVED_US = 1_760_000_000_000_000


def block(language: str) -> str:
    """The first block of code in this language."""
    found = re.search(rf"^```{language}\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


async def test_the_script_its_mapping_and_the_table_read_a_frame_alike() -> None:
    script = Script("c2", block("js"))
    pool = CodecPool(1)
    await pool.start()
    try:
        up, encoded = await pool.call(
            [
                Call(script, "decodeUplink", uplink_input(2, FRAME, RECEIVED_US)),
                Call(script, "encodeDownlink", downlink_input({"minutes": 30}, RECEIVED_US)),
            ]
        )
    finally:
        await pool.close()
    assert up.output is not None
    mapping = Mapping.parse(json.loads(block("json")))

    read = apply(mapping, up.output["data"], RECEIVED_US)
    table = parse(block("yaml")).decode(2, FRAME, RECEIVED_US, {})

    assert propose([up.output["data"]]) == mapping
    assert read.warnings == []
    assert sorted(read.readings) == sorted(table.readings)
    assert [(reading.quantity, reading.value) for reading in read.readings] == [
        ("distance", 1750),
        ("temperature", -1),
        ("battery_level", 92),
        ("open", 0),
        ("distance", 1746),
    ]
    assert encoded.output == {"bytes": [0x01, 30], "fPort": 3}


def test_every_command_of_the_guide_exists_with_its_options() -> None:
    commands = get_command(app).commands["codec"].commands  # pyright: ignore[reportAttributeAccessIssue]
    shown = re.findall(r"^\./territoire codec (\w+)(.*)$", GUIDE, re.MULTILINE)

    assert {name for name, _ in shown} >= {"check", "import", "try", "publish", "shadow", "switch", "rollback"}
    for name, rest in shown:
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest.partition("#")[0])) <= known, name
