"""A mapping that people revise: what would be proposed today, and what they decide, path by path."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from decoders.mapping.paths import path_text
from decoders.mapping.rules import InvalidMapping, Mapping, Rule


class Difference(NamedTuple):
    """What a mapping has for a path, and what is proposed today; None: nothing."""

    path: str
    now: Rule | None
    proposed: Rule | None


def differences(now: Mapping, proposed: Mapping) -> list[Difference]:
    """Where today's proposal says otherwise; what a person has confirmed is left alone.

    Channels are not compared: they tell rules apart, and depend on which others there are.
    """
    today = {path_text(rule.steps): rule for rule in proposed.rules}
    found: list[Difference] = []
    known: set[str] = set()
    for rule in now.rules:
        path = path_text(rule.steps)
        known.add(path)
        other = today.get(path)
        if not rule.confirmed and not _is_same(rule, other):
            found.append(Difference(path, rule, other))
    found += [Difference(path, None, rule) for path, rule in today.items() if path not in known]
    return found


def _is_same(rule: Rule, other: Rule | None) -> bool:
    return other is not None and replace(rule, channel="") == replace(other, channel="")


def confirm(mapping: Mapping, decisions: Iterable[dict[str, Any]]) -> Mapping:
    """The mapping with these rules confirmed, as they are or with what a decision says otherwise.

    A decision is a rule as JSON of which only the path must be there. Raises InvalidMapping for a path that the
    mapping does not have, and for what cannot be a rule.
    """
    rules = list(mapping.rules)
    for decision in decisions:
        at = _index(rules, str(decision.get("path", "")))
        said = rules[at].as_json() | decision
        said.pop("to_confirm", None)
        rules[at] = Rule.parse(said | {"confirmed": True})
    return Mapping(tuple(rules))


def remove(mapping: Mapping, paths: Sequence[str]) -> Mapping:
    """The mapping without the rules of these paths. Raises InvalidMapping for one that it does not have."""
    rules = list(mapping.rules)
    for path in paths:
        del rules[_index(rules, path)]
    return Mapping(tuple(rules))


def adopt(mapping: Mapping, proposed: Mapping, paths: Sequence[str]) -> Mapping:
    """The mapping with what is proposed today for these paths, where it is nothing: without them.

    Raises InvalidMapping for a path that neither has.
    """
    today = {path_text(rule.steps): rule for rule in proposed.rules}
    for path in paths:
        rules = [rule for rule in mapping.rules if path_text(rule.steps) != path]
        if path not in today and len(rules) == len(mapping.rules):
            raise InvalidMapping(f"« {path} » : ni dans la correspondance, ni proposé aujourd'hui")
        mapping = Mapping((*rules, *([today[path]] if path in today else [])))
    return mapping


def _index(rules: Sequence[Rule], path: str) -> int:
    """Where the rule of a path is, the one to confirm first. Raises InvalidMapping."""
    found = [at for at, rule in enumerate(rules) if path_text(rule.steps) == path]
    if not found:
        raise InvalidMapping(f"« {path} » : aucune règle de la correspondance n'a ce chemin")
    return next((at for at in found if rules[at].to_confirm is not None), found[0])
