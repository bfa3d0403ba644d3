"""Tables that are data: TOML files beside the code that reads them."""

import tomllib
from importlib.resources import files
from typing import Any


def read_table(path: str) -> dict[str, Any]:
    """The table of this file of `decoders`, such as `mapping/units.toml`."""
    return tomllib.loads(files("decoders").joinpath(path).read_text("utf-8"))
