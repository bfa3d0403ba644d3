"""Loads a script into a context of its own and calls it, inside a worker process.

`JsEngine` is all that a worker asks of an engine, so that another one can take this one's place.
"""

from importlib import import_module
from importlib.resources import files
from typing import Any, Protocol

import msgspec

from decoders.javascript.calls import Failure, Limits, Operation, Script

quickjs: Any = import_module("quickjs")  # It has no types.
JSException: type[Exception] = quickjs.JSException
StackOverflow: type[Exception] = quickjs.StackOverflow

# What `require` gives, and where its text is.
MODULES = {
    "base64-js": "vendored/base64-js/index.js",
    "buffer": "vendored/buffer/index.js",
    "crypto": "crypto.js",
    "ieee754": "vendored/ieee754/index.js",
    "node-aes-cmac": "aes_cmac.js",
}
# Modules that scripts name and use nothing of.
EMPTY_MODULES = ("os",)
# Every top-level name that a script may define; a `const` is no property of the global object.
NAMES = ("decodeUplink", "Decoder", "Decode", "encodeDownlink", "Encoder", "Encode", "decodeDownlink")
HOLDERS = ("driver", "module", "exports")
FOUND = (
    "({__proto__: null, "
    + ", ".join(f"{name}: typeof {name} === 'undefined' ? undefined : {name}" for name in (*NAMES, *HOLDERS))
    + "})"
)
CONSOLE = {"console_lines": 64, "console_line": 500, "console_octets": 16_384}
# The value of a script is that of its last statement, which not every type of the binding can hold.
UNDEFINED = "\n;void 0;"
REASON_LENGTH = 300


class Broken(Exception):
    """A script could not be loaded, or a call was stopped: its context is of no more use."""

    def __init__(self, failure: Failure, reason: str) -> None:
        super().__init__(reason)
        self.failure: Failure = failure
        self.reason = reason


class Loaded(Protocol):
    """A script in a context of its own."""

    def call(self, operation: Operation, octets: str) -> str:
        """The answer, JSON of an `Answer` without its time; `octets` is the input, JSON.

        Raises:
            Broken: the engine stopped it.
        """
        ...


class JsEngine(Protocol):
    """What a worker needs of an engine."""

    def load(self, script: Script) -> Loaded:
        """A context with this script.

        Raises:
            Broken: it cannot be loaded.
        """
        ...


class QuickJs:
    """quickjs-ng: memory, stack and CPU of a context are bounded by the engine itself."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._locale, self._harness = _text("locale.js"), _text("harness.js")
        bounds: dict[str, Any] = {
            "output_octets": limits.output_octets,
            "keys": limits.keys,
            "depth": limits.depth,
            **CONSOLE,
        }
        self._bounds = msgspec.json.encode(bounds).decode()
        modules = {name: _text(file) for name, file in MODULES.items()} | dict.fromkeys(EMPTY_MODULES, "")
        self._bounds_with_modules = msgspec.json.encode({**bounds, "modules": modules}).decode()

    def load(self, script: Script) -> Loaded:
        """A context with this script as a sloppy global script (docs/decoders-javascript.md, "Compatibility")."""
        if len(script.source) > self._limits.script_octets:
            most = self._limits.script_octets // 1024
            raise Broken("script", f"Le codec dépasse {most} Ko ({len(script.source) // 1024} Ko)")
        context = quickjs.Context()
        context.set_memory_limit(self._limits.memory_octets)
        context.set_max_stack_size(self._limits.stack_octets)
        context.set_time_limit(self._limits.load_s)
        asks_for_modules = "Buffer" in script.source or "require" in script.source
        bounds = context.parse_json(self._bounds_with_modules if asks_for_modules else self._bounds)
        context.eval(self._locale)
        resolve = context.eval(self._harness)(bounds)
        try:
            context.eval(script.source + UNDEFINED)
            run = resolve(context.eval(FOUND), script.form)
        except JSException as thrown:
            raise _broken(thrown, "Le codec ne se charge pas", f"{self._limits.load_s:g} s") from None
        context.set_time_limit(self._limits.call_s)
        return _Context(context, run, self._limits)


class _Context:
    def __init__(self, context: Any, run: Any, limits: Limits) -> None:
        self._context = context  # What it made lives as long as it does.
        self._run = run
        self._limits = limits

    def call(self, operation: Operation, octets: str) -> str:
        try:
            return self._run(operation, octets)
        except JSException as thrown:
            raise _broken(thrown, "Le codec a échoué", f"{self._limits.call_s * 1000:g} ms") from None
        except (TypeError, UnicodeError):  # A value that the binding cannot hand over.
            raise Broken("output", "Résultat refusé : il est illisible") from None


def _broken(thrown: Exception, what: str, allowed: str) -> Broken:
    """The failure for an exception that left the engine; the engine's own words show what stopped the script."""
    text = str(thrown)
    if text.startswith("InternalError: interrupted"):
        return Broken("timeout", f"{what} : plus de {allowed} de calcul")
    if isinstance(thrown, StackOverflow):
        return Broken("script", f"{what} : récursion sans fin")
    first, _, rest = text.partition("\n")
    if first in ("null", "InternalError", "InternalError: out of memory"):
        return Broken("memory", f"{what} : plus de mémoire")
    at = rest.partition("<input>:")[2].partition(":")[0]
    return Broken("script", f"{what} : {first[:REASON_LENGTH]}" + (f" (ligne {at})" if at.isdecimal() else ""))


def _text(name: str) -> str:
    return files("decoders.javascript").joinpath(name).read_text("utf-8")
