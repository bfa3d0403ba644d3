"""The OpenAPI document, as tests/characterisation/test_openapi.py compares it with what the application makes."""

import json
from pathlib import Path
from typing import Any

# Making it takes seconds, in each process that runs tests.
DOCUMENT: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "characterisation/openapi.json").read_text("utf-8")
)
