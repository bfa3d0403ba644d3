"""Golden vectors: octets in, values out, each with its source."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "vectors"


def read_vectors(*names: str) -> list[dict[str, Any]]:
    """Every line of tests/vectors/<name>.jsonl, in order."""
    return [
        json.loads(line) for name in names for line in (FOLDER / f"{name}.jsonl").read_text("utf-8").splitlines()
    ]
