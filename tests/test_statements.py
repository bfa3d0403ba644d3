"""Every SQL statement of the program is prepared against the migrated schema: a misspelt column fails here."""

import importlib
import pkgutil
import re

import pytest

from core.runtime.postgres import PostgresError, connect
from registry.listing import Listing, Statement
from registry.photos import PhotoTable
from tests.rooms import LAB, PRODUCT

STATEMENT = re.compile(r"\s*(WITH|SELECT|INSERT|UPDATE|DELETE)\s", re.IGNORECASE)


def statements() -> dict[str, str]:
    """Every constant that is a statement, by its dotted name."""
    found: dict[str, str] = {}
    for package in map(importlib.import_module, (*PRODUCT, LAB)):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if info.name.endswith("__main__") or ".migrations" in info.name:
                continue
            module = importlib.import_module(info.name)
            for name, value in vars(module).items():
                if isinstance(value, Statement):
                    found[f"{info.name}.{name}"] = value.sql
                elif isinstance(value, Listing):
                    for how, those in (
                        ("", value.statements),
                        (" walked", value.walked),
                        (" of one", value.of_one),
                    ):
                        found |= {f"{info.name}.{name} {sort}{how}": one.sql for sort, one in those.items()}
                elif isinstance(value, PhotoTable):
                    found |= {f"{info.name}.{name} {what}": sql for what, sql in value.statements.items()}
                if name.isupper() and isinstance(value, str) and STATEMENT.match(value):
                    found[f"{info.name}.{name}"] = value
    return found


STATEMENTS = statements()


def test_the_statements_are_found() -> None:
    assert len(STATEMENTS) > 100


@pytest.mark.parametrize("role", ["admin_url", "service_url"])
async def test_every_statement_fits_the_schema(database, role: str) -> None:
    connection = await connect(getattr(database, role))
    refused: dict[str, str] = {}
    for name, text in STATEMENTS.items():
        try:
            await connection.prepare(text)
        except PostgresError as wrong:
            refused[name] = str(wrong)
    await connection.close()

    assert refused == {}
