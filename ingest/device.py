"""What the steps need to know of a device: its codec, and what it serves when. Pure."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from core.messages.shards import slot_of_asset
from core.model.entities import Asset, Assignment
from core.model.quantities import QUANTITIES
from decoders.containers import ContainerGeometry, InvalidGeometry, geometry_of
from ingest.vendor_codecs import AnyCodec, VendorCodec
from lorawan.instants import to_us

BEGINNING_US, END_US = -(1 << 62), 1 << 62
LARGEST = sys.float_info.max
Stream = tuple[int, float, float]


@dataclass(slots=True)
class Serving:
    """What a device serves from `since_us` until before `until_us`: an asset in a position, or none.

    `datastreams` fills at the first sight of each (channel, quantity): its id, and the range of plausible values.
    `slot` is that of the measurements.
    """

    tenant_id: int
    asset_id: int | None
    device_id: int
    position: str = ""
    since_us: int = BEGINNING_US
    until_us: int = END_US
    geometry: ContainerGeometry | None = None
    geometry_problem: str | None = None
    datastreams: dict[tuple[str, str], Stream] = field(default_factory=dict[tuple[str, str], Stream])
    slot: int = field(init=False)

    def __post_init__(self) -> None:
        self.slot = slot_of_asset(self.device_id if self.asset_id is None else self.asset_id)

    def remember(self, channel: str, quantity: str, datastream_id: int) -> None:
        """The datastream of these values, from now on."""
        of = QUANTITIES[quantity]
        low = -LARGEST if of.minimum is None else of.minimum
        high = LARGEST if of.maximum is None else of.maximum
        self.datastreams[channel, quantity] = (datastream_id, low, high)


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device as ingest needs it. `codec` is None when this program has none of that name.

    `vendor` is its codec, too, when that is a script that may run. `shadow` runs beside it. `codec_options` are
    its profile's, and what a script is given; `secret_options` are the keys of its meters, opened.
    """

    id: int
    device_profile_id: int
    codec_name: str
    codec: AnyCodec | None
    codec_options: Mapping[str, Any]
    servings: tuple[Serving, ...]
    unassigned: Serving
    dev_eui: bytes = b""
    name: str = ""
    vendor: VendorCodec | None = None
    shadow: AnyCodec | None = None
    shadow_version_id: int | None = None
    secret_options: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

    def all_options(self) -> Mapping[str, Any]:
        """With the keys of its meters: for a codec of this program, and never for a script."""
        if not self.secret_options:
            return self.codec_options
        return {**self.codec_options, **self.secret_options}

    def serving_at(self, time_us: int, received_at_us: int) -> Serving:
        """What the device served at `time_us`; when nothing, what it served at the reception.

        So an uplink whose gateway's clock is a little behind the moment of the assignment belongs to the asset.
        """
        for instant in (time_us, received_at_us):
            for serving in self.servings:
                if serving.since_us <= instant < serving.until_us:
                    return serving
        return self.unassigned

    def has_served(self, asset_id: int) -> bool:
        """Whether it serves this asset at any time."""
        return any(serving.asset_id == asset_id for serving in self.servings)


def serving_of(assignment: Assignment, asset: Asset) -> Serving:
    """An assignment with what the steps need of its asset."""
    geometry, problem = None, None
    try:
        geometry = geometry_of(asset.attributes)
    except InvalidGeometry as invalid:
        problem = f"Géométrie du conteneur inutilisable : {invalid}"
    return Serving(
        assignment.tenant_id,
        assignment.asset_id,
        assignment.device_id,
        assignment.position,
        _microseconds(assignment.since, BEGINNING_US),
        _microseconds(assignment.until, END_US),
        geometry,
        problem,
    )


def _microseconds(bound: datetime | None, unbounded: int) -> int:
    """A bound of a range; the driver gives infinity without a time zone."""
    if bound is None or bound.tzinfo is None:
        return unbounded
    return to_us(bound)
