"""Logins, and requests without their right, that were rejected: a line a minute and address, in audit and log."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import structlog

from core.runtime.postgres import Pool
from registry.audit import record_rejected_login

log = structlog.get_logger()

UNKNOWN_ACTOR = "inconnu"
REMEMBERED_MOST = 4096
# Of each kind a line of its own: the others are logins of some sort.
APART = frozenset({"right", "stale"})


class RejectedLogins:
    """Asks the database once a minute for each address; that it is once for all replicas, the database sees to."""

    def __init__(self, pool: Pool, clock: Callable[[], float] = time.time) -> None:
        self._pool = pool
        self._clock = clock
        self._recorded: OrderedDict[tuple[str, int | None, str], int] = OrderedDict()

    async def record(
        self,
        address: str,
        reason: str,
        given: dict[str, Any],
        *,
        tenant_id: int | None = None,
        actor: str = UNKNOWN_ACTOR,
    ) -> None:
        """Record it, unless one of its kind from there was this minute; `given` holds no secret."""
        minute, kind = int(self._clock() // 60), reason if reason in APART else "login"
        key = (address, tenant_id, kind)
        if self._recorded.get(key) == minute:
            return
        self._recorded[key] = minute
        self._recorded.move_to_end(key)
        if len(self._recorded) > REMEMBERED_MOST:
            self._recorded.popitem(last=False)
        log.warning("request_rejected", address=address, reason=reason, tenant=tenant_id)
        await record_rejected_login(self._pool, address, tenant_id, actor, reason, given)
