"""How long a million lines of the audit take to seal and to verify."""

import time
from dataclasses import dataclass

from core.runtime.postgres import connect, open_pool
from registry.audit_chain import seal, verify
from services.supervisor.run_info import RunInfo

# Written at once and past the view: what is measured is the chain.
PLANT = """
WITH t AS (INSERT INTO tenant (slug, name) VALUES ('banc-audit', 'Banc') RETURNING id),
drawn AS MATERIALIZED (
    SELECT uuid_send(gen_random_uuid()) AS salt,
           jsonb_build_object('api_key', 'abcdef', 'address', '192.0.2.1', 'after', n) AS d
    FROM generate_series(1, $1) n),
lines AS (
    INSERT INTO audit_line (tenant_id, actor, action, entity, entity_id, details_digest)
    SELECT t.id, 'banc', 'update', 'asset', '1', sha256(salt || convert_to(d::text, 'UTF8')) FROM drawn, t
    RETURNING id, tenant_id, details_digest),
details AS (
    INSERT INTO audit_detail (line_id, tenant_id, salt, details)
    SELECT l.id, l.tenant_id, d.salt, d.d FROM lines l
    JOIN drawn d ON l.details_digest = sha256(d.salt || convert_to(d.d::text, 'UTF8')))
INSERT INTO audit_pending SELECT id FROM lines
"""
CHANGE = "UPDATE audit_line SET actor = 'un autre' WHERE id = (SELECT max(id) / 2 FROM audit_line)"
VERIFIED_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class AuditFigures:
    """Seconds, and whether the one line that was changed was found."""

    lines: int
    seal_s: float
    verify_s: float
    is_change_found: bool

    @property
    def is_reached(self) -> bool:
        """Whether verification is as fast as it has to be for a million lines, and finds the change."""
        return self.verify_s * 1_000_000 <= VERIFIED_WITHIN_S * self.lines and self.is_change_found


async def measure(run: RunInfo, lines: int) -> AuditFigures:
    """On the stack's own database, which is thrown away."""
    admin = await connect(run.database_admin_url, "territoire-bench")
    try:
        await admin.execute(PLANT, lines, timeout=600)
        await admin.execute("ANALYZE audit_line, audit_detail, audit_pending")
        async with open_pool(run.database_url, "bench", size=1, command_timeout=600) as pool:
            began = time.monotonic()
            await seal(pool)
            seal_s = time.monotonic() - began
        await admin.execute("ANALYZE audit_seal")
        began = time.monotonic()
        whole = await verify(admin)
        verify_s = time.monotonic() - began
        async with admin.transaction():
            await admin.execute("SET LOCAL session_replication_role = replica")
            await admin.execute(CHANGE)
        changed = await verify(admin)
    finally:
        await admin.close()
    is_found = whole.problem_count == 0 and changed.problem_count == 1
    return AuditFigures(whole.sealed, seal_s, verify_s, is_found)
