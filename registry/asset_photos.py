"""Photos of assets, in the database: erased with what they show."""

from dataclasses import dataclass
from datetime import datetime

from registry.photos import PhotoTable


@dataclass(frozen=True, slots=True)
class AssetPhoto:
    """A photo, without its octets."""

    id: int
    tenant_id: int
    asset_id: int
    remark: str
    taken_by: str
    taken_at: datetime
    octets: int


ASSET_PHOTOS = PhotoTable(AssetPhoto, "asset_photo", "asset_id")
