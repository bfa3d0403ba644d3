"""Which statements a service can come to run: those that its code names, from `services/<name>/app.py` on."""

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

from tests.rooms import CHECKOUT, PRODUCT

STATEMENT = re.compile(r"\s*(WITH|SELECT|INSERT|UPDATE|DELETE)\s(?!LOCAL)", re.IGNORECASE)
Name = tuple[str, str]
# What indicators reads as a tenant, by another role (registry.entering.reading_as).
AS_TENANT: tuple[Name, ...] = (
    ("api.reporting.making", "read_signed"),
    ("api.reporting.reading", "ask"),
    ("api.reporting.reading", "list_communes"),
    ("api.reporting.reading", "read_report"),
)


@dataclass(slots=True)
class Module:
    """What a module defines at its top, and what it imports under which name."""

    defined: dict[str, ast.AST] = field(default_factory=dict[str, ast.AST])
    imported: dict[str, Name] = field(default_factory=dict[str, Name])


@cache
def module(name: str) -> Module | None:
    """The module of this name, when it is ours."""
    if name.partition(".")[0] not in PRODUCT:
        return None
    base = CHECKOUT / name.replace(".", "/")
    file = next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.exists()), None)
    if file is None:
        return None
    found, tree = Module(), ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.imported |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.defined[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found.defined |= {
                name.id: node for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)
            }
    return found


def _named_in(home: str, node: ast.AST) -> Iterator[Name]:
    """What a definition mentions: names of its module, of others, and attributes of modules."""
    here = module(home)
    assert here is not None
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            if part.id in here.defined:
                yield home, part.id
            elif part.id in here.imported:
                yield here.imported[part.id]
        elif isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name):
            of, name = here.imported.get(part.value.id, ("", ""))
            yield f"{of}.{name}", part.attr


def reachable(service: str) -> set[Name]:
    return _reachable([(f"services.{service}.app", "run")], set(AS_TENANT))


def _reachable(todo: list[Name], left_out: set[Name]) -> set[Name]:
    seen: set[Name] = set()
    while todo:
        home, name = todo.pop()
        found = module(home)
        if found is None or (home, name) in seen or (home, name) in left_out:
            continue
        seen.add((home, name))
        if name in found.defined:
            todo += _named_in(home, found.defined[name])
        elif name in found.imported:
            todo.append(found.imported[name])
    return seen


@cache
def statements_of(service: str) -> dict[str, str]:
    """By its dotted name, every constant that is a statement and that this service can come to."""
    return _statements(reachable(service))


def statements_as_tenant() -> dict[str, str]:
    """Those that the maker of reports comes to once it has entered a tenant."""
    return _statements(_reachable(list(AS_TENANT), set()))


def _statements(names: set[Name]) -> dict[str, str]:
    found: dict[str, str] = {}
    for home, name in sorted(names):
        value = vars(importlib.import_module(home)).get(name) if name.isupper() else None
        if isinstance(value, str) and STATEMENT.match(value):
            found[f"{home}.{name}"] = value
    return found
