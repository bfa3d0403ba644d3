"""Asks by one statement which sweeps may have something to do: most seconds none has."""

from datetime import datetime, timedelta

from core.runtime.postgres import Pool

# A column has the name of its sweep. Each is true whenever the sweep's own statements would find a row, and may be
# so when they find none; by the indexes that these use.
DUE = """
SELECT EXISTS (SELECT FROM lighting_command WHERE relight_at <= $1)
    OR EXISTS (SELECT FROM lighting_command WHERE relight_at IS NOT NULL AND off_until IS NULL) AS relight,
       EXISTS (SELECT FROM lighting_unknown_act WHERE settled_at IS NULL AND due_at <= $1) AS restore,
       EXISTS (SELECT FROM lighting_command WHERE state IN ('queued', 'sent', 'acknowledged'))
    OR EXISTS (SELECT FROM lighting_command WHERE relight_at IS NOT NULL AND off_until IS NULL)
    OR EXISTS (SELECT FROM lighting_command
               WHERE state IN ('failed', 'expired') AND reconciled_at IS NULL AND updated_at > $2)
       AS advance_commands,
       EXISTS (SELECT FROM lighting_campaign WHERE state IN ('approved', 'canary', 'running'))
    OR EXISTS (SELECT FROM lighting_campaign WHERE state = 'draft' AND not_after <= $1)
    OR EXISTS (SELECT FROM lighting_campaign_target WHERE state IN ('queued', 'sent', 'acknowledged'))
       AS advance_campaigns,
       EXISTS (SELECT FROM lighting_command WHERE state = 'applied' AND unconfirmed IS NULL) AS confirm_applied
"""


async def read_due(pool: Pool, now: datetime, late_for: timedelta) -> frozenset[str]:
    """The names of the sweeps that may have something to do; what ended is looked at for `late_for`."""
    row = await pool.fetchrow(DUE, now, now - late_for)
    return frozenset() if row is None else frozenset(name for name, is_due in row.items() if is_due)
