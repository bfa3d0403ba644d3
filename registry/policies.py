"""What every policy of row security has in common, brought about at the end of each migration.

Whichever migration wrote a policy: what the services see, every service's role sees; and what a policy asks about
the transaction it asks once for a statement, of a function that believes nothing without a seal. Asked row by row,
200,000 rows took 1,026 ms instead of 6.
"""

import re

from core.runtime.postgres import Connection
from registry.rights import ALL_TENANTS, OWNER

READ_POLICIES = """
SELECT p.polname::text AS policy, p.polrelid::regclass::text AS scoped,
       $1::text::regrole = ANY(p.polroles) AND NOT $2::text::regrole = ANY(p.polroles) AS lacks_services,
       pg_get_expr(p.polqual, p.polrelid) AS seen, pg_get_expr(p.polwithcheck, p.polrelid) AS written
FROM pg_policy p
WHERE EXISTS (SELECT FROM pg_roles r WHERE r.rolname = $2)
ORDER BY 2, 1
"""
# Until a process of a former version is gone, which sets app.tenant without a seal, nobody enforces it.
ENFORCE_SEAL = """
UPDATE seal_secret SET is_enforced = true
WHERE NOT is_enforced AND NOT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND usename = 'territoire_api' AND application_name <> $1)
"""
# By this name an API says that it enters by proofs and presents itself; one of another name is a former one.
API_NAME = "api/vouched"
IS_ENFORCED = "SELECT is_enforced FROM seal_secret"
BY_ROW = re.compile(r"(?<!SELECT )\bcurrent_tenant\(\)")
AS_SET = "(current_setting('app.operator'::text, true) = 'on'::text)"


def asked_once(expression: str | None) -> str | None:
    """The expression of a policy, with what it asks about the transaction in subqueries that run once."""
    if expression is None:
        return None
    return BY_ROW.sub("(SELECT current_tenant())", expression).replace(AS_SET, "(SELECT is_operator())")


async def apply_policies(connection: Connection) -> int:
    """Change the policies that differ, one by one: each locks its table for an instant, services are at work."""
    statements: list[str] = []
    for row in await connection.fetch(READ_POLICIES, OWNER, ALL_TENANTS):
        clauses = [f"TO {OWNER}, {ALL_TENANTS}"] if row["lacks_services"] else []
        for words, expression in (("USING", row["seen"]), ("WITH CHECK", row["written"])):
            wanted = asked_once(expression)
            if wanted != expression:
                clauses.append(f"{words} ({wanted})")
        if clauses:
            statements.append(f'ALTER POLICY "{row["policy"]}" ON {row["scoped"]} {" ".join(clauses)}')
    for statement in statements:
        await connection.execute(statement)
    return len(statements)


async def enforce_seal(connection: Connection) -> bool:
    """From now on nothing is believed without a seal; False while a process of a former API is connected."""
    await connection.execute(ENFORCE_SEAL, API_NAME)
    return await connection.fetchval(IS_ENFORCED)
