"""Names are in the field's words: docs/glossary.md is the dictionary, forbidden_words.toml what it excludes."""

import ast
import functools
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
WORDS: dict[str, Any] = tomllib.loads((ROOT / "tests/forbidden_words.toml").read_text())


class Name(NamedTuple):
    """A name that the repository gives to something."""

    file: str
    kind: str
    name: str


def _tracked_python() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "*.py"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def names_in(file: str, source: str) -> Iterator[Name]:
    """Of the module, its classes, functions and parameters; names of tests are sentences of their own."""
    yield Name(file, "module", Path(file).stem)
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.ClassDef(name=name):
                yield Name(file, "class", name)
            case ast.FunctionDef(name=name, args=args) | ast.AsyncFunctionDef(name=name, args=args):
                if not name.startswith(("test_", "__")):
                    yield Name(file, "function", name)
                for parameter in (*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg):
                    if parameter is not None:
                        yield Name(file, "parameter", parameter.arg)
            case _:
                pass


@functools.cache
def all_names() -> frozenset[Name]:
    """Of every Python file of the repository, each once a file."""
    return frozenset(name for file in _tracked_python() for name in names_in(file, (ROOT / file).read_text()))


@functools.cache
def parts_of(name: str) -> list[str]:
    """The words of a name in snake_case or CamelCase, in lower case."""
    apart = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name))
    return [part.lower() for part in apart.split("_") if part]


@functools.cache
def replacement_of(name: Name) -> str | None:
    """What the dictionary says instead of this name; None: nothing is wrong with it."""
    whole = name.name.strip("_")
    if whole in WORDS["names"]:
        return WORDS["names"][whole]
    if name.kind == "function" and whole in WORDS["functions"]:
        return WORDS["functions"][whole]
    return next((WORDS["parts"][part] for part in parts_of(whole) if part in WORDS["parts"]), None)


def is_allowed(name: Name) -> bool:
    """Whether the name is somebody else's, or of the stored or HTTP form."""
    return any(
        name.name.strip("_") in entry["names"]
        and name.file.startswith(entry["in"])
        and name.kind in entry.get("kinds", [name.kind])
        for entry in WORDS["allowed"]
    )


def forbidden_names() -> list[Name]:
    """Every name of the repository that the dictionary excludes."""
    return sorted(name for name in all_names() if replacement_of(name) is not None and not is_allowed(name))


def test_a_forbidden_word_is_found_as_a_whole_part_only() -> None:
    source = "class HeardCopy:\n    def unheard_of(self, is_told, lifetime, *copies): ...\ndef take(): ...\n"

    found = [name.name for name in names_in("x/y.py", source) if replacement_of(name) is not None]

    assert found == ["HeardCopy", "take", "is_told", "copies"]


def test_no_name_contains_a_forbidden_word() -> None:
    assert [f"{name.file}: {name.kind} {name.name}: {replacement_of(name)}" for name in forbidden_names()] == []


def test_every_exception_is_of_a_name_that_exists() -> None:
    files_of = dict[str, set[str]]()
    for name in all_names():
        files_of.setdefault(name.name.strip("_"), set()).add(name.file)

    unused = [
        (allowed, entry["in"])
        for entry in WORDS["allowed"]
        for allowed in entry["names"]
        if not any(file.startswith(entry["in"]) for file in files_of.get(allowed, ()))
    ]

    assert unused == []
