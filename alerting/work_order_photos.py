"""Photos of work orders, in the database: gone with the work order."""

from dataclasses import dataclass
from datetime import datetime

from registry.photos import PhotoTable


@dataclass(frozen=True, slots=True)
class WorkOrderPhoto:
    """A photo, without its octets."""

    id: int
    tenant_id: int
    work_order_id: int
    remark: str
    taken_by: str
    taken_at: datetime
    octets: int


WORK_ORDER_PHOTOS = PhotoTable(WorkOrderPhoto, "work_order_photo", "work_order_id")
