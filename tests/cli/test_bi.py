"""`territoire bi`: a login that reads one tenant is made, listed and ended by the operator."""

import asyncio
import json
import re

import asyncpg

from core.runtime.postgres import connect
from registry.tenants import create_tenant
from tests.cli.in_process import territoire


def test_a_login_is_made_reads_its_tenant_and_is_ended(database) -> None:
    async def tenant() -> None:
        connection = await connect(database.admin_url)
        await create_tenant(connection, "landerneau", "Landerneau")
        await connection.close()

    async def slugs(account: dict[str, str]) -> list[str]:
        url = re.sub("//[^@]*@", f"//{account['user']}:{account['password']}@", database.admin_url)
        connection = await asyncpg.connect(url)
        found = await connection.fetch("SELECT name FROM asset")
        await connection.close()
        return [row["name"] for row in found]

    asyncio.run(tenant())
    name, url = f"t{database.name.removeprefix('test_')}", ["--database-url", database.admin_url]
    made = territoire("bi", "create", "landerneau", name, *url, "--json")
    unknown = territoire("bi", "create", "nulle-part", name, *url)
    account = json.loads(made.stdout)
    read = asyncio.run(slugs(account))
    listed = json.loads(territoire("bi", "list", *url, "--json").stdout)
    ended = territoire("bi", "drop", account["user"], *url)
    again = territoire("bi", "drop", account["user"], *url)

    assert (made.returncode, unknown.returncode, ended.returncode, again.returncode) == (0, 1, 0, 1)
    assert account["database"] == database.name
    assert read == []
    assert {"role": account["user"], "tenant": "landerneau", "connections": 0} in listed
    assert "collectivité inconnue : nulle-part" in unknown.stderr
