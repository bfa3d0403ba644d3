"""What the engine knows without asking: rules by what they watch, and the datastreams that it has met."""

from collections.abc import Iterable, Mapping, Sequence

from alerting.engine_store import Watched, read_rules, read_watched
from alerting.rules import Rule
from core.messages.shards import slot_of_asset
from core.registry.changes import Change
from core.runtime.postgres import Pool


def slot_of(asset_id: int | None, device_id: int) -> int:
    """The slot of the measurements of an asset, or of a device that serves none; as ingest splits them."""
    return slot_of_asset(device_id if asset_id is None else asset_id)


class Rulebook:
    """Caches of the enabled rules and of the datastreams; `apply` keeps them true."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._rules: dict[int, Rule] = {}
        self._threshold: dict[tuple[int, str], list[Rule]] = {}
        self._silence: dict[int, list[Rule]] = {}
        self._watched: dict[int, Watched] = {}
        # What applies is asked for every measurement, and there are few kinds of them.
        self._applicable: dict[tuple[int, str, str | None], tuple[list[Rule], list[Rule]]] = {}
        self.version = 0
        """Rises with every change that may concern what was derived from here."""

    async def load(self) -> None:
        """Read the rules anew."""
        rules = await read_rules(self._pool)
        threshold: dict[tuple[int, str], list[Rule]] = {}
        silence: dict[int, list[Rule]] = {}
        for rule in rules:
            if rule.kind == "silence":
                silence.setdefault(rule.tenant_id, []).append(rule)
            elif rule.quantity is not None:
                threshold.setdefault((rule.tenant_id, rule.quantity), []).append(rule)
        self._rules = {rule.id: rule for rule in rules}
        self._threshold, self._silence = threshold, silence
        self._applicable.clear()
        self.version += 1

    async def apply(self, changes: Sequence[Change]) -> None:
        """Follow changes of the registry: rules are read again, datastreams at their next measurement."""
        changed: dict[str, set[int]] = {}
        for change in changes:
            changed.setdefault(change.entity, set()).add(change.entity_id)
        if "alert_rule" in changed:
            await self.load()
        if changed.keys() & {"device_profile", "device", "asset"}:
            self.version += 1
        if "device_profile" in changed:
            self._watched.clear()
            return
        devices, assets = changed.get("device", set()), changed.get("asset", set())
        if devices or assets:
            self._watched = {
                id_: watched
                for id_, watched in self._watched.items()
                if watched.device_id not in devices and watched.asset_id not in assets
            }

    async def watched(self, ids: Iterable[int]) -> Mapping[int, Watched]:
        """Datastreams by id, among them all of these; one that is gone is absent."""
        unknown = set(ids).difference(self._watched)
        if unknown:
            self._watched |= {watched.id: watched for watched in await read_watched(self._pool, list(unknown))}
        return self._watched

    def rule(self, rule_id: int) -> Rule | None:
        """An enabled rule."""
        return self._rules.get(rule_id)

    def threshold_rules(self, watched: Watched) -> list[Rule]:
        """The rules that watch this datastream's values."""
        return self._rules_for(watched)[0]

    def silence_rules(self, watched: Watched) -> list[Rule]:
        """The rules that wait for signs of life of its device."""
        return self._rules_for(watched)[1]

    def _rules_for(self, watched: Watched) -> tuple[list[Rule], list[Rule]]:
        key = (watched.tenant_id, watched.quantity, watched.asset_kind)
        found = self._applicable.get(key)
        if found is None:
            threshold = self._threshold.get((watched.tenant_id, watched.quantity), ())
            silence = self._silence.get(watched.tenant_id, ())
            found = self._applicable[key] = (
                [rule for rule in threshold if rule.asset_kind in (None, watched.asset_kind)],
                [rule for rule in silence if rule.asset_kind in (None, watched.asset_kind)],
            )
        return found
