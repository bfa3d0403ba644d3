"""What every route needs, made once by the composition root."""

from dataclasses import dataclass, field

import structlog

from alerting.mail import Mailer
from api.change_turns import ChangeTurns
from api.limits import Limits, Rates
from api.oidc import Provider
from api.rejections import RejectedLogins
from api.shared_reading import SharedReadings
from core.messages import topics
from core.messages.batch import encode_batch
from core.messages.measurements import Measurement
from core.messages.topics import shard_of_slot
from core.runtime.bus import BUS_AWAY, Bus
from core.runtime.errors import describe
from core.runtime.http.origin import Network
from core.runtime.postgres import Pool
from indicators.buildings.form_columns import Forms, read_forms
from indicators.waste.rounds.solver import Solver
from ingest.scripts import Workers
from registry.keys import KeyWrap
from registry.passwords import Passwords

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Access:
    """How people reach this installation."""

    public_url: str = ""
    proxies: tuple[Network, ...] = ()
    """Whose `X-Forwarded-For` is believed."""
    mailer: Mailer | None = None
    """Who sends invitations; None: who invites sees the link."""
    provider: Provider | None = None
    """By whom people may log in instead of by a password."""
    rates: Rates = field(default_factory=Rates)
    tiles_url: str = ""
    """Where the background of maps comes from; empty: there is none."""
    tiles_attribution: str = ""
    osrm_url: str = ""
    """Who says how far it is by road; empty: rounds go by lines through the air."""
    accessibility_contact: str = ""
    """To whom people turn who cannot use the console; empty: to the tenant that gave them an account."""
    mqtt_url: str = ""
    """Where applications reach our MQTT broker; empty: it has no accesses for them."""


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The database as the API's role, the bus, and what is decided once per installation."""

    pool: Pool
    bus: Bus
    keys: KeyWrap
    shards: int
    codec_workers: Workers
    access: Access = field(default_factory=Access)
    forms: Forms = field(default_factory=read_forms)
    """Of authorities: which figure fills which column."""
    passwords: Passwords = field(default_factory=Passwords)
    solver: Solver = field(default_factory=Solver)
    rejections: RejectedLogins = field(init=False)
    limits: Limits = field(init=False)
    turns: ChangeTurns = field(default_factory=ChangeTurns)
    shared_readings: SharedReadings = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rejections", RejectedLogins(self.pool))
        object.__setattr__(self, "limits", Limits(self.access.rates))
        object.__setattr__(self, "shared_readings", SharedReadings(self.pool))

    async def nudge_registry(self) -> None:
        """Every process re-reads what changed; without this nudge it would in 5 s."""
        await self._nudge(topics.REGISTRY_CHANGED, b"")

    async def nudge_downlink(self, slot: int, device_id: int) -> None:
        """The owner of the device works off the new row; without this nudge it would within a second."""
        await self._nudge(topics.downlink_due(shard_of_slot(slot, self.shards)), str(device_id).encode())

    async def publish_measurement(self, slot: int, measurement: Measurement) -> None:
        """Publish a committed measurement of the API to alerting and lighting; the table is its truth."""
        subject = topics.measurements(shard_of_slot(slot, self.shards))
        try:
            await self.bus.publish_once(subject, encode_batch([measurement]))
        except BUS_AWAY as away:
            log.warning("measurement_not_published", subject=subject, error=describe(away))

    async def _nudge(self, subject: str, data: bytes) -> None:
        # What the caller asked for is committed: a bus that is away must not turn it into an error.
        try:
            await self.bus.nudge(subject, data)
        except BUS_AWAY as away:
            log.warning("nudge_not_sent", subject=subject, error=describe(away))
