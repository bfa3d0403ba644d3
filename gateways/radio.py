"""Schedules one gateway's radio: one transmission at a time, within the duty cycle, recorded beforehand."""

import asyncio
import time
from dataclasses import dataclass

import structlog

from core.messages.downlinks import Transmission, TransmitReply, TransmitRequest
from core.model.entities import Gateway
from core.runtime.clock import monotonic_us, wall_clock_us
from core.runtime.errors import describe
from core.runtime.postgres import DATABASE_AWAY, Pool
from gateways import gateway_metrics
from gateways.frontend import INTERNAL_ERROR, NO_ACK, OK, ChosenTransmission, Frontend, WindowFrontend
from gateways.gateway_times import RoundTrips
from gateways.telemetry import ROUND_TRIP_SECONDS
from gateways.transmission_store import Statuses, read_transmissions, write_transmission
from lorawan.airtime import Granted, Priority, Scheduler, TransmitRejected, Usage, lora_airtime_us
from lorawan.airtime import Transmission as LedgerTransmission
from lorawan.identifiers import GatewayId
from lorawan.radiated_power import requested_power
from lorawan.regions import EU868, REGIONS

# What a forwarder needs from the arrival of a request until the frame starts, with something to spare.
QUEUE_LEAD_US = 50_000
# Below this it answers TOO_LATE (42.5 ms measured on HAL2), whatever we hoped for.
HARD_LEAD_US = 43_000
FIRST_ROUND_TRIP_US = 50_000
# NTP slews by less, a clock that is set steps by more.
LEAST_STEP_US = 200_000
COLLISION_PACKET = "COLLISION_PACKET"
TOO_LATE = "TOO_LATE"
# A counter that is already past looks like one far ahead.
TOO_LATE_OF_GATEWAY = frozenset({TOO_LATE, "TOO_EARLY"})
# Of a window that was offered to a gateway beside the one that it took.
NOT_TAKEN = "IGNORED"
IMMEDIATE_TRIES = 3
IMMEDIATE_PAUSE_S = 0.3

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one of a request's transmissions."""

    status: str
    fits_at_us: int = 0
    starts_at_us: int = 0


@dataclass(frozen=True, slots=True)
class _Booking:
    """A transmission that the ledger grants, and its row; `index` is its place in the request."""

    index: int
    transmission: Transmission
    granted: Granted
    row_id: int


class Radio:
    """Serves the requests to one gateway for as long as this replica holds its path."""

    def __init__(
        self, gateway: Gateway, scheduler: Scheduler, pool: Pool, statuses: Statuses, round_trips: RoundTrips
    ) -> None:
        self.gateway = gateway
        self._region = REGIONS.get(gateway.region, EU868)
        self._scheduler = scheduler
        self._pool = pool
        self._statuses = statuses
        self._latest_now_us = 0
        self._begun_us = wall_clock_us() - monotonic_us()
        self._handing_over = asyncio.Lock()
        self._on_air_until_us = 0
        self._round_trips = round_trips
        self._link_us: int | None = None  # By a frontend that measures its connections.

    @property
    def measured_us(self) -> int | None:
        """The way to the gateway and back, as it was measured."""
        return self._round_trips.measured(self.gateway.gateway_id) if self._link_us is None else self._link_us

    @property
    def round_trip_us(self) -> int:
        """What it is taken for: as measured, or as an answer that came too late shows it, or else as most are."""
        known_us = self._round_trips.of(self.gateway.gateway_id) if self._link_us is None else self._link_us
        return FIRST_ROUND_TRIP_US if known_us is None else known_us

    @classmethod
    async def restored(cls, gateway: Gateway, pool: Pool, statuses: Statuses, round_trips: RoundTrips) -> "Radio":
        """A radio whose duty cycle goes on where any replica before us left it.

        Raises:
            DATABASE_AWAY: the ledger cannot be read.
        """
        scheduler = Scheduler(REGIONS.get(gateway.region, EU868))
        scheduler.restore(wall_clock_us(), await read_transmissions(pool, gateway.gateway_id))
        return cls(gateway, scheduler, pool, statuses, round_trips)

    def usage(self) -> tuple[Usage, ...]:
        """What is used up of each sub-band's hour."""
        return self._scheduler.usage(self._now_us())

    async def transmit(self, frontend: Frontend, request: TransmitRequest) -> TransmitReply:
        """Try the transmissions in order until the gateway takes one; at most one goes out."""
        self._link_us = None
        if isinstance(frontend, WindowFrontend):
            self._link_us = frontend.round_trip_us(self.gateway.gateway_id)
            if not any(transmission.immediate for transmission in request.transmissions):
                return await self._transmit_in_windows(frontend, request)
        outcome, fits_at_us = _Outcome(INTERNAL_ERROR), 0
        for index, transmission in enumerate(request.transmissions):
            outcome = await self._try_immediate_again(frontend, request, index, transmission)
            if outcome.status == OK:
                return TransmitReply(OK, index, 0, outcome.starts_at_us)
            if outcome.fits_at_us and (not fits_at_us or outcome.fits_at_us < fits_at_us):
                fits_at_us = outcome.fits_at_us
            if outcome.status == NO_ACK:  # It may have gone out: a second one would be one too many.
                return TransmitReply(NO_ACK, index, 0, outcome.starts_at_us)
            if not request.falls_back:
                break
        return TransmitReply(outcome.status, -1, fits_at_us, 0)

    async def _transmit_in_windows(self, frontend: WindowFrontend, request: TransmitRequest) -> TransmitReply:
        """Offer every window that the ledger grants; what the gateway did not take is given back."""
        bookings: list[_Booking] = []
        refused: list[_Outcome] = []
        for index, transmission in enumerate(request.transmissions):
            booked = await self._book(request, index, transmission)
            if isinstance(booked, _Booking) and self._is_late(booked.granted):
                self._settle(booked, TOO_LATE)
                booked = _Outcome(TOO_LATE)
            if isinstance(booked, _Booking):
                bookings.append(booked)
            else:
                refused.append(booked)
                if not request.falls_back and not bookings:
                    break
        if not bookings:
            fits_at_us = min((outcome.fits_at_us for outcome in refused if outcome.fits_at_us), default=0)
            return TransmitReply(refused[-1].status if refused else INTERNAL_ERROR, -1, fits_at_us, 0)
        status, place = await frontend.transmit_in_windows(
            [self._radio_request(request, booked) for booked in bookings]
        )
        for booked in bookings:
            # Silence is no answer: any of them may have gone out.
            self._settle(booked, NOT_TAKEN if status == OK and booked is not bookings[place] else status)
        if status not in {OK, NO_ACK}:
            return TransmitReply(status, -1, 0, 0)
        return TransmitReply(status, bookings[place].index, 0, bookings[place].granted.start_us)

    async def _try_immediate_again(
        self, frontend: Frontend, request: TransmitRequest, index: int, transmission: Transmission
    ) -> _Outcome:
        """An immediate frame that the gateway could not fit in is offered again while it is useful."""
        outcome = await self._try(frontend, request, index, transmission)
        for _ in range(IMMEDIATE_TRIES - 1):
            refused = outcome.status == COLLISION_PACKET and outcome.starts_at_us and transmission.immediate
            if not refused or wall_clock_us() > request.latest_at_us:
                break
            await asyncio.sleep(IMMEDIATE_PAUSE_S)
            outcome = await self._try(frontend, request, index, transmission)
        return outcome

    async def _try(
        self, frontend: Frontend, request: TransmitRequest, index: int, transmission: Transmission
    ) -> _Outcome:
        booked = await self._book(request, index, transmission)
        if isinstance(booked, _Outcome):
            return booked
        status = await self._hand_over(frontend, request, booked)
        self._settle(booked, status)
        return _Outcome(status, starts_at_us=booked.granted.start_us)

    async def _book(self, request: TransmitRequest, index: int, transmission: Transmission) -> _Booking | _Outcome:
        """Reserve the radio and write it down, or say why not."""
        granted = self._request(request, transmission)
        if isinstance(granted, TransmitRejected):
            return _Outcome(granted.status, granted.fits_at_us)
        priority = _priority_of(request)
        booked = LedgerTransmission(granted.start_us, granted.airtime_us, granted.frequency)
        gateway_id = self.gateway.gateway_id
        try:
            row_id = await write_transmission(self._pool, gateway_id, booked, priority, request.downlink_id)
        except DATABASE_AWAY as away:
            log.warning("transmission_not_written", gw_eui=gateway_id.hex(), error=describe(away))
            self._scheduler.release(granted)
            return _Outcome(INTERNAL_ERROR)
        return _Booking(index, transmission, granted, row_id)

    def _settle(self, booked: _Booking, status: str) -> None:
        """Note what became of a booking; the radio is free again when nothing can have gone out."""
        self._statuses.record_status(booked.row_id, status)
        if status not in {OK, NO_ACK}:
            self._scheduler.release(booked.granted)

    def _request(self, request: TransmitRequest, transmission: Transmission) -> Granted | TransmitRejected:
        now = self._now_us()
        try:
            airtime_us = lora_airtime_us(
                len(transmission.phy_payload), transmission.spreading_factor, transmission.bandwidth, crc=False
            )
        except (ValueError, ZeroDivisionError):
            return TransmitRejected("TX_FREQ")
        return self._scheduler.request(
            now,
            start_us=None if transmission.immediate else request.uplink_at_us + transmission.delay_us,
            airtime_us=airtime_us,
            frequency=transmission.frequency,
            priority=_priority_of(request),
            latest_start_us=request.latest_at_us if transmission.immediate else None,
            lead_us=QUEUE_LEAD_US + self.round_trip_us,
        )

    def _now_us(self) -> int:
        """The wall clock as the ledger goes by it: it never goes back, and where it was set the ledger goes along.

        Held at an hour that was wrong, it would refuse everything as late until that hour has come.
        """
        wall_us = wall_clock_us()
        stepped_us = wall_us - monotonic_us() - self._begun_us
        if abs(stepped_us) > LEAST_STEP_US:
            self._scheduler.shift(stepped_us)
            self._begun_us += stepped_us
            self._on_air_until_us += stepped_us
            self._latest_now_us = wall_us
            log.warning("radio_clock_set", gw_eui=self.gateway.gateway_id.hex(), by_s=round(stepped_us / 1e6, 1))
        self._latest_now_us = max(wall_us, self._latest_now_us)
        return self._latest_now_us

    def _radio_request(self, request: TransmitRequest, booked: _Booking) -> ChosenTransmission:
        transmission = booked.transmission
        gateway = self.gateway
        power = requested_power(
            self._region.downlink_eirp(transmission.frequency),
            gateway.antenna_gain,
            gateway.gain_subtracted_by,
            gateway.max_eirp,
        )
        return ChosenTransmission(
            self.gateway.gateway_id, request.context, transmission, power, starts_at_us=booked.granted.start_us
        )

    def _is_late(self, granted: Granted) -> bool:
        """Whether the frame would reach the gateway too late for its window.

        The whole round trip counts: the uplink had been underway for one half when it arrived here.
        """
        return wall_clock_us() + HARD_LEAD_US + self.round_trip_us > granted.start_us

    async def _hand_over(self, frontend: Frontend, request: TransmitRequest, booked: _Booking) -> str:
        """Ask the gateway, an immediate frame only when its turn has come."""
        granted, emission = booked.granted, self._radio_request(request, booked)
        if not booked.transmission.immediate:
            return TOO_LATE if self._is_late(granted) else await self._ask(frontend, emission)
        await _sleep_until(granted.start_us - QUEUE_LEAD_US - self.round_trip_us)
        async with self._handing_over:
            # The one before may have reached the gateway later than we thought.
            await _sleep_until(self._on_air_until_us - QUEUE_LEAD_US)
            if wall_clock_us() > request.latest_at_us:
                return TOO_LATE
            status = await self._ask(frontend, emission)
            if status in {OK, NO_ACK}:
                self._on_air_until_us = wall_clock_us() + QUEUE_LEAD_US + granted.airtime_us
            return status

    async def _ask(self, frontend: Frontend, radio_request: ChosenTransmission) -> str:
        asked_at, asked_at_us = time.perf_counter(), wall_clock_us()
        status = await frontend.transmit(radio_request)
        if status in {NO_ACK, INTERNAL_ERROR}:
            return status
        elapsed_us = round((time.perf_counter() - asked_at) * 1e6)
        lead_us = None if radio_request.transmission.immediate else radio_request.starts_at_us - asked_at_us
        if frontend.answers_at_once:
            ROUND_TRIP_SECONDS.observe(elapsed_us / 1e6)
            self._round_trips.record_sample(self.gateway.gateway_id, way_us(status, elapsed_us, lead_us))
        elif lead_us is not None and status in TOO_LATE_OF_GATEWAY:
            self._round_trips.record_late(self.gateway.gateway_id, way_us(status, elapsed_us, lead_us))
        return status


def way_us(status: str, elapsed_us: int, lead_us: int | None) -> int:
    """The way to a gateway and back, as an answer to a request shows it.

    `lead_us` is how long before its instant a frame for a window was handed over; None: it was for no window. The
    uplink had been under way, too: what was in time was no farther than that, whatever the answer took; what
    came too late was farther.
    """
    if lead_us is None:
        return elapsed_us
    enough_us = max(0, lead_us - HARD_LEAD_US)
    if status == OK:
        return min(elapsed_us, enough_us)
    return max(elapsed_us, enough_us) if status in TOO_LATE_OF_GATEWAY else elapsed_us


def _priority_of(request: TransmitRequest) -> Priority:
    return Priority(request.priority) if request.priority in set(Priority) else Priority.ROUTINE


async def _sleep_until(instant_us: int) -> None:
    delay_us = instant_us - wall_clock_us()
    if delay_us > 0:
        await asyncio.sleep(delay_us / 1e6)


class Radios:
    """Every gateway's radio, made at the first request after its path was opened."""

    def __init__(self, pool: Pool, statuses: Statuses, round_trips: RoundTrips) -> None:
        self._pool = pool
        self._statuses = statuses
        self._round_trips = round_trips
        self._radios: dict[GatewayId, Radio] = {}
        self._making: dict[GatewayId, asyncio.Lock] = {}

    async def of(self, gateway: Gateway) -> Radio:
        """The radio of a gateway; raises DATABASE_AWAY when its ledger cannot be read."""
        making = self._making.setdefault(gateway.gateway_id, asyncio.Lock())
        async with making:
            radio = self._radios.get(gateway.gateway_id)
            if radio is None:
                radio = await Radio.restored(gateway, self._pool, self._statuses, self._round_trips)
                # Forgotten while its ledger was read: it serves this request, and the next one reads anew.
                if self._making.get(gateway.gateway_id) is making:
                    self._radios[gateway.gateway_id] = radio
            return radio

    def show(self) -> None:
        """In the metrics: what is used up of each hour."""
        for gateway_id, radio in self._radios.items():
            gateway_metrics.show_duty_cycle(gateway_id, radio.usage())

    def forget(self, gateway_id: GatewayId) -> None:
        """The path is gone: another replica may use the radio, so that its ledger is read anew next time."""
        self._radios.pop(gateway_id, None)
        self._making.pop(gateway_id, None)
