"""Finds the row id of a gateway by its EUI, for receptions."""

import asyncio
from collections.abc import Iterable

from core.runtime.postgres import Pool
from registry.changes import Change
from registry.gateways import read_gateways

# An EUI that is not known makes the table be read again, at most this often.
READ_AGAIN_EVERY_S = 1.0


class KnownGateways:
    """The registered gateways. `apply` is for a `RegistryWatcher`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._ids: dict[bytes, int] = {}
        self._read_at = float("-inf")
        self._changed = True

    async def resolve(self, euis: Iterable[bytes]) -> dict[bytes, int]:
        """The row's id of every registered gateway; `euis` are those that are asked for now."""
        now = asyncio.get_running_loop().time()
        is_due = now - self._read_at >= READ_AGAIN_EVERY_S
        if self._changed or (is_due and any(eui not in self._ids for eui in euis)):
            self._changed = False
            try:
                self._ids = {eui: gateway.id for eui, gateway in (await read_gateways(self._pool)).items()}
            except BaseException:
                self._changed = True
                raise
            self._read_at = now
        return self._ids

    def apply(self, changes: Iterable[Change]) -> None:
        """Read the table again before the next batch if a gateway changed."""
        if any(change.entity == "gateway" for change in changes):
            self._changed = True
