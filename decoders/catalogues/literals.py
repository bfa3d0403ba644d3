"""JavaScript literals as values: catalogues keep examples in files that are JSON only in name.

A catalogue is untrusted text: literals.js evaluates it where vendors' scripts run, in a worker process with
these limits and a context of its own. What JSON cannot say becomes what JSON.stringify makes of it.
"""

from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any, NamedTuple, cast
from zlib import crc32

from decoders.javascript.calls import Answer, Call, Limits, Script

LIMITS = Limits(output_octets=16 << 20, keys=10_000, depth=100, memory_octets=256 << 20, call_s=2.0, contexts=1)
_SOURCE = files("decoders.catalogues").joinpath("literals.js").read_text("utf-8")

# The answer of a worker with these limits.
Evaluate = Callable[[Call], Answer]


class Element(NamedTuple):
    """A value, or what is wrong with it, in French and with its line."""

    value: Any
    wrong: str = ""


def value_of(text: str, evaluate: Evaluate) -> Element:
    """The value of a literal."""
    return _element(_evaluated(text, evaluate, elements=False))


def elements_of(text: str, evaluate: Evaluate) -> list[Element]:
    """The elements of a list, each on its own: one that is no value costs no other. Empty when it has none."""
    found = _evaluated(text, evaluate, elements=True)
    return [_element(said) for said in cast("list[Any]", found)] if isinstance(found, list) else []


def _evaluated(text: str, evaluate: Evaluate, *, elements: bool) -> Any:
    # A key for each text: it may change whatever its context has, or take too long too often.
    script = Script(f"literal-{crc32(text.encode()):08x}", _SOURCE)
    answer = evaluate(Call(script, "decodeUplink", {"text": text, "elements": elements}))
    return answer.output["data"] if answer.output is not None else {"wrong": f"ligne 1 : {answer.reason}"}


def _element(said: Mapping[str, Any]) -> Element:
    return Element(said.get("value"), said.get("wrong", ""))
