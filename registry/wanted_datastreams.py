"""Which datastreams a list, a question about series or an export is about: one condition and its values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from registry.places import ANYWHERE, Place, in_commune, values_of, within

# Of a datastream `d` and its asset `a`.
ASSET_WANTED = f"""
(:asset_ids::int[] IS NULL OR d.asset_id = ANY(:asset_ids))
  AND (:quantity::text IS NULL OR d.quantity = :quantity) AND (:asset_kind::text IS NULL OR a.kind = :asset_kind)
  AND (:tag::text IS NULL OR :tag = ANY(a.tags)) AND (:quarter::text IS NULL OR a.quarter = :quarter)
  AND {in_commune("a")} AND {within("a")}
"""


@dataclass(frozen=True, slots=True)
class WantedDatastreams:
    """Which datastreams a list is asked for; None: whatever they are."""

    asset_ids: Sequence[int] | None = None
    dev_eui: bytes | None = None
    quantity: str | None = None
    asset_kind: str | None = None
    tag: str | None = None
    quarter: str | None = None
    place: Place = ANYWHERE

    def values(self) -> dict[str, Any]:
        """By the names of the statement's parameters."""
        return values_of(self)
