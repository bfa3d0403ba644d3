"""Sweeps that prove, whatever a test has them find, that the question asked each second knew of it."""

from datetime import datetime

from core.runtime.postgres import Pool
from lighting.sweep import Sweep, sweeps_due
from lighting.swept import Swept


def only_when_due(sweep: Sweep) -> Sweep:
    """The sweep; what it does, `sweeps_due` has said before."""

    async def checked(pool: Pool, now: datetime) -> Swept:
        due = await sweeps_due(pool, now)
        swept = await sweep(pool, now)
        assert sweep in due or swept == Swept()
        return swept

    return checked
