"""Settings of maintenance."""

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from core.runtime.settings import Expected
from ingest.maintenance.audit_export import Destination
from ingest.maintenance.settings import RetentionSettings


def _is_destination(address: str) -> str:
    if address:
        Destination(address)
    return address


class MaintenanceSettings(RetentionSettings):
    """How often rollups and housekeeping run, and when the disk is called full, beside how long what is kept."""

    rollups_every_s: float = Field(default=30.0, gt=0, le=600, description="Seconds between two passes of rollups")
    housekeeping_every_s: float = Field(
        default=3600.0, gt=0, le=86_400, description="Seconds between two passes of retention and pruning"
    )
    erasure_ledger: Path | None = Field(
        default=None,
        description="A file beside the backups that names by keyed digests what was erased; a restore reads it. "
        "Absent: the log has it, and each `backup` writes it beside the dump",
    )
    erasure_settle_s: float = Field(
        default=30.0, ge=0, le=86_400, description="Seconds until what came in meanwhile is erased, too"
    )
    disk_limit_bytes: int = Field(
        default=0, ge=0, description="What the database may fill; 0: unknown. Below a fifth left, a warning"
    )
    disk_folder: Path | None = Field(
        default=None,
        description="A folder on the database's disk, where this process sees it; absent: another machine's. "
        "Below a fifth left, a warning",
    )
    exports_octets: int = Field(
        default=2_000_000_000,
        ge=1_000_000,
        description="What the files of exports may fill together, in the database, for the day that each is kept",
    )
    exports_folder: Path | None = Field(
        default=None,
        description="A folder in which scheduled exports are put down, each tenant's below its own slug; "
        "absent: they go by SFTP alone",
    )
    cold_folder: Path | None = Field(
        default=None,
        description="A folder where readings that are no personal data go as Parquet before they are dropped, for "
        "exports to read; absent: they are dropped. Needs the extra `parquet`",
    )
    audit_export: Annotated[
        Annotated[str, AfterValidator(_is_destination)],
        Expected(
            "stdout:, file:///chemin/absolu.jsonl, syslog+udp://machine:514, syslog+tcp://machine:601 ou "
            "syslog+tls://machine:6514?ca=/chemin/ca.pem"
        ),
    ] = Field(default="", description="Where each sealed line of the audit goes as JSON; empty: nowhere")
