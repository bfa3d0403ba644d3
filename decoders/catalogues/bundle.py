"""Bundles several files into one script: decoder and encoder apart, or a main file that requires others."""

import json
import re
from collections.abc import Sequence

from decoders.catalogues.files import Catalogue, Unreadable, folder_of, joined

MOST_MODULES = 60
_REQUIRE = re.compile(r"""\brequire\s*\(\s*(["'])(\.{1,2}/[^"']*)\1\s*\)""")
_SUFFIXES = ("", ".js", ".json", "/index.js")
_EXPORT = """
if (typeof {name} === "function") globalThis.{name} = {name};"""
_ENCODERS = ("encodeDownlink", "Encoder", "Encode")
_BUNDLE = """(function (outer) {{
var modules = {{{modules}}};
var paths = {paths};
var made = {{}};
function requireFrom(here) {{
  return function (name) {{
    var path = paths[here][name];
    if (path === undefined) return outer(name);
    if (!made[path]) {{
      made[path] = {{ exports: {{}} }};
      modules[path](made[path], made[path].exports, requireFrom(path));
    }}
    return made[path].exports;
  }};
}}
globalThis.require = requireFrom({main});
}})(globalThis.require);
"""


def script(catalogue: Catalogue, main: str) -> str:
    """A main file as one script, with the files of the catalogue that it requires. Raises Unreadable."""
    source = catalogue.text(main)
    paths = {main: _required(catalogue, main, source)}
    if not paths[main]:
        return source
    modules: dict[str, str] = {}
    waiting = list(paths[main].values())
    while waiting:
        path = waiting.pop()
        if path in modules or path == main:
            continue
        if len(modules) == MOST_MODULES:
            raise Unreadable(f"{main} demande plus de {MOST_MODULES} fichiers")
        text = catalogue.text(path)
        paths[path] = {} if path.endswith(".json") else _required(catalogue, path, text)
        modules[path] = f"module.exports = {text};" if path.endswith(".json") else text
        waiting += paths[path].values()
    functions = ",".join(
        f"{json.dumps(path)}: function (module, exports, require) {{\n{text}\n}}" for path, text in modules.items()
    )
    head = _BUNDLE.format(modules=functions, paths=json.dumps(paths), main=json.dumps(main))
    return head + source


def _required(catalogue: Catalogue, path: str, source: str) -> dict[str, str]:
    """Relative name -> path of each file that this one requires and that there is.

    What is missing may be in a comment, or behind a condition: the script itself says when it asks for it.
    """
    found: dict[str, str] = {}
    for match in _REQUIRE.finditer(source):
        name = match[2]
        base = joined(folder_of(path), name)
        target = next((base + suffix for suffix in _SUFFIXES if base + suffix in catalogue), None)
        if target is not None:
            found[name] = target
    return found


def together(decoder: str, others: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A decoder's script, with others in functions of their own: helpers of one name do not meet.

    `others` are scripts and the functions that each gives.
    """
    parts = [decoder]
    for source, names in others:
        given = "".join(_EXPORT.format(name=name) for name in names)
        parts.append(f"\n;(function () {{\n{source}\n{given}\n}})();\n")
    return "".join(parts)


def with_encoder(decoder: str, encoder: str) -> str:
    """A decoder's script and an encoder's."""
    return together(decoder, [(encoder, _ENCODERS)]) if decoder else encoder
