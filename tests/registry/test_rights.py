"""Each service's login role may do what it does, and nothing else."""

import re

import pytest
from asyncpg import ObjectNotInPrerequisiteStateError, WrongObjectTypeError

from core.runtime.postgres import Connection, InsufficientPrivilegeError, PostgresError, connect
from registry.granting import apply_rights, read_tables
from registry.policies import apply_policies
from registry.rights import ALL_TENANTS, AS_TENANT, LOGINS, OWNER, RIGHTS, SECRET, SERVICES
from services.supervisor.stack_options import SERVICES as PROCESSES
from tests.reachable import statements_as_tenant, statements_of

# The same replay of the past is live in alerting, on tables, and tried by the API, on views.
READ_BY_THE_API = re.compile(r"\.(READ_)?VISIBLE_\w+$")


def test_every_process_has_a_login_role() -> None:
    assert LOGINS.keys() == set(PROCESSES)


async def test_every_table_has_a_line_that_says_which_services_use_it(database) -> None:
    connection = await connect(database.admin_url)
    tables = await read_tables(connection)
    await connection.close()

    assert {name.removeprefix("public.") for name in tables} == RIGHTS.keys()


async def test_a_service_may_run_its_own_statements(database) -> None:
    """EXPLAIN asks for the rights that running would need, of tables and of columns."""
    refused: dict[tuple[str, str], str] = {}
    for service in SERVICES:
        connection = await connect(database.url_of(service))
        for name, text in statements_of(service).items():
            if READ_BY_THE_API.search(name):
                continue
            try:
                await connection.execute(f"EXPLAIN (GENERIC_PLAN) {text}")
            except PostgresError as wrong:
                refused[service, name] = str(wrong)
        await connection.close()

    assert refused == {}


# Of both sources of sensors' health, a report reads the one of views.
OF_SERVICES = re.compile(r"^alerting\.health_store\.(?!VISIBLE_)|\.READ_GATEWAYS$")


async def test_what_reports_are_made_of_may_be_read_as_a_tenant(database) -> None:
    connection = await connect(database.url_of("indicators"))
    await connection.execute(f"SET ROLE {AS_TENANT}")
    refused: dict[str, str] = {}
    for name, text in statements_as_tenant().items():
        if OF_SERVICES.search(name):
            continue
        try:
            await connection.execute(f"EXPLAIN (GENERIC_PLAN) {text}")
        except PostgresError as wrong:
            refused[name] = str(wrong)
    await connection.close()

    assert refused == {}


# What its statements do not show: pgqueuer's own, those of the functions that write and seal the audit, and what a
# view has under it that has the rights of who asks.
UNDER_THE_VIEW = ("lighting_assignment", "lighting_program_version")
BY_OTHERS = {
    *(("lighting", name) for name in (*UNDER_THE_VIEW, "lighting_program_in_force", "tenant")),
    *(("alerting", name) for name in UNDER_THE_VIEW),
    ("alerting", "jobs.pgqueuer_log"),
    ("alerting", "jobs.pgqueuer_schedules"),
    ("alerting", "jobs.pgqueuer_statistics"),
    ("intake", "audit_detail"),
    ("intake", "audit_line"),
    ("intake", "audit_pending"),
    ("maintenance", "audit_line"),
    ("maintenance", "audit_pending"),
}


def test_a_service_has_no_right_that_it_does_not_use() -> None:
    unused = {
        (service, table)
        for table, by_service in RIGHTS.items()
        for service in by_service
        if not any(re.search(rf"\b{re.escape(table)}\b", text) for text in statements_of(service).values())
    }

    assert unused - BY_OTHERS == set()


# What no role can do to a view.
NOBODY_CAN = (ObjectNotInPrerequisiteStateError, WrongObjectTypeError)


async def rejection(connection: Connection, statement: str) -> str | None:
    """What PostgreSQL says against it."""
    try:
        await connection.execute(statement)
    except (InsufficientPrivilegeError, *NOBODY_CAN) as refused:
        return str(refused)
    return None


TRIED = ("SELECT FROM {}", "INSERT INTO {} DEFAULT VALUES", "DELETE FROM {}", "TRUNCATE {}")


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_that_tries_what_is_not_its_own_is_refused(database, service: str) -> None:
    connection = await connect(database.url_of(service))
    tables = await read_tables(connection)
    foreign = {name for name in tables if service not in RIGHTS[name.removeprefix("public.")]}
    keys = [
        f"SELECT {column} FROM {name}"
        for name, columns in tables.items()
        for column in columns
        if SECRET.search(column) and "*" not in RIGHTS[name.removeprefix("public.")].get(service, "")
    ]
    tried = [form.format(name) for name in sorted(foreign) for form in TRIED] + keys
    allowed = [statement for statement in tried if await rejection(connection, statement) is None]
    as_owner = await rejection(connection, f"SET ROLE {OWNER}")
    as_api = await rejection(connection, "SET ROLE territoire_api")
    made = await rejection(connection, "CREATE TABLE public.mine ()")
    await connection.close()

    assert {"public.api_key", "public.alert", "public.tenant"} <= foreign or service != "gateway_bridge"
    assert allowed == []
    assert None not in {as_owner, as_api, made}


async def test_rights_that_somebody_changed_are_put_right_again(database) -> None:
    connection = await connect(database.admin_url)
    unchanged = await apply_rights(connection), await apply_policies(connection)
    await connection.execute("GRANT SELECT ON api_key, observation.latest TO territoire_gateway_bridge")
    await connection.execute("REVOKE UPDATE (slot) ON device FROM territoire_network")
    await connection.execute("CREATE TABLE later (id int, tenant_id int)")
    await connection.execute("CALL scope_to_tenant('later')")

    changed = await apply_rights(connection), await apply_policies(connection)

    bridge = await connect(database.url_of("gateway_bridge"))
    refused = [
        await rejection(bridge, f"SELECT FROM {name}") for name in ("api_key", "observation.latest", "later")
    ]
    await bridge.close()
    network = await connect(database.url_of("network"))
    await network.execute("UPDATE device SET slot = 0")
    await network.close()
    seen_by = await connection.fetchval(
        "SELECT roles::text[] FROM pg_policies WHERE tablename = 'later' AND policyname = 'of_services'"
    )
    await connection.close()
    assert (unchanged, changed) == ((0, 0), (3, 2))
    assert None not in refused
    assert ALL_TENANTS in seen_by
