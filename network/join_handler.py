"""Checks a join-request, commits the session, then answers it (docs/protocols.md, "Matrix", rows 17 to 24)."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hmac import compare_digest

from msgspec.structs import replace

from core.model.entities import Device
from core.runtime.postgres import Connection
from lorawan.crypto import SessionCipher, SessionKeys, WrongKek
from lorawan.frame import MalformedFrame
from lorawan.identifiers import DevAddr, slot_of_dev_eui
from lorawan.instants import from_us
from lorawan.join import EU868_CF_LIST, JoinAccept, JoinRequest, allocate_dev_addr, derive_session_keys
from lorawan.join_policy import DevNonceVerdict, judge_dev_nonce, next_join_nonce, policy_of
from lorawan.mac_state import first_state
from lorawan.regions import EU868
from lorawan.rejections import RejectReason
from lorawan.rx_delay import FAR_US, far_until_us
from lorawan.session import Session
from network import join_store
from network.deduplication import Group, best_receptions
from network.join_flood import JoinFlood
from network.join_store import Joining, NewSession
from network.receive import nearest_gateway_us
from network.sessions import HeldSession, Progress
from network.settings import NetworkServerSettings
from registry.enrolment import AbpSession
from registry.keys import device_owner, key_wrap_of, session_owner
from registry.rejections import clear_join_rejections

JOIN_WINDOW_US = 6_000_000
# Of one device within `join_store.RECENT`: one that receives no accept and does not back off uses up neither its
# DevNonces nor our JoinNonces.
MOST_RECENT_JOINS = 20
# How many unused sessions of a device stay open.
KEPT_UNUSED = 3


@dataclass(frozen=True, slots=True)
class Admitted:
    """A join to be answered once its session is committed. `repeated`: the session had been opened before."""

    group: Group
    device: Device
    session: HeldSession
    accept: bytes
    repeated: bool
    superseded: tuple[int, ...] = ()
    """The device's unused sessions that this join closed."""

    @property
    def result(self) -> str:
        """The result as the metric of joins labels it."""
        return "repeated" if self.repeated else "accepted"


@dataclass(frozen=True, slots=True)
class JoinRejected:
    """A join-request that gets no answer, and why; `dev_nonce` when it named a device that we know."""

    group: Group
    result: RejectReason
    dev_eui: bytes = b""
    dev_nonce: int | None = None


@dataclass(frozen=True, slots=True)
class _Fresh:
    group: Group
    joining: Joining
    keys: SessionKeys
    session: NewSession
    accept: bytes


@dataclass(slots=True)
class _Asked:
    """A join-request whose MIC is right."""

    group: Group
    request: JoinRequest
    joining: Joining
    app_key: bytes

    def reject(self, result: RejectReason) -> JoinRejected:
        """Reject the join-request: it gets no answer."""
        return _rejected(self.group, self.request, result)


@dataclass(slots=True)
class _Known:
    """What is known of a device's joins; each accepted join of this batch is added."""

    used: set[int]
    highest: int | None
    recent: int
    last_join_nonce: int | None


@dataclass(slots=True)
class _Judged:
    """The join-requests with a right MIC, by their result."""

    fresh: list[_Fresh] = field(default_factory=list[_Fresh])
    again: list[_Asked] = field(default_factory=list[_Asked])
    rejected: list[JoinRejected] = field(default_factory=list[JoinRejected])


class JoinHandler:
    """Answers join-requests with the keys and the addresses of this network."""

    def __init__(self, settings: NetworkServerSettings) -> None:
        self._settings = settings
        self._keys = key_wrap_of(settings)
        self._flood = JoinFlood()

    async def admit(
        self, connection: Connection, groups: Sequence[Group], now_us: int
    ) -> list[Admitted | JoinRejected]:
        """Judge these join-requests and open their sessions in the caller's fenced transaction."""
        outcomes: list[Admitted | JoinRejected] = []
        requests: list[tuple[Group, JoinRequest]] = []
        for group in groups:
            if now_us > group.live_at_us + JOIN_WINDOW_US:
                outcomes.append(JoinRejected(group, RejectReason.LATE))  # The device's windows are over.
                continue
            if not self._flood.admits((copy.gateway_id for copy in group.receptions), now_us):
                outcomes.append(JoinRejected(group, RejectReason.GATEWAY_FLOOD))
                continue
            try:
                requests.append((group, JoinRequest.from_bytes(group.phy_payload)))
            except MalformedFrame:
                outcomes.append(JoinRejected(group, RejectReason.MALFORMED))
        if not requests:
            return outcomes
        joining = await join_store.read_joining(connection, list({request.dev_eui for _, request in requests}))
        asked: list[_Asked] = []
        for group, request in requests:
            checked = self._check(group, request, joining.get(request.dev_eui))
            (asked if isinstance(checked, _Asked) else outcomes).append(checked)  # pyright: ignore[reportArgumentType]
        if asked:
            outcomes += await self._open(connection, asked, now_us)
        return outcomes

    def _check(self, group: Group, request: JoinRequest, joining: Joining | None) -> _Asked | JoinRejected:
        if joining is None:
            return JoinRejected(group, RejectReason.UNKNOWN_DEVICE, request.dev_eui)
        if joining.device.activation != "OTAA" or joining.app_key_wrapped is None:
            return _rejected(group, request, RejectReason.NOT_OTAA)
        try:
            app_key = self._keys.unwrap(joining.app_key_wrapped, device_owner(request.dev_eui, "app_key"))
        except WrongKek:
            return _rejected(group, request, RejectReason.WRONG_KEK)
        if not request.verify(app_key):
            return _rejected(group, request, RejectReason.MIC)
        if not joining.device.enabled:
            return _rejected(group, request, RejectReason.DISABLED)
        return _Asked(group, request, joining, app_key)

    async def _open(
        self, connection: Connection, asked: Sequence[_Asked], now_us: int
    ) -> list[Admitted | JoinRejected]:
        used = await join_store.read_used_nonces(
            connection, [(entry.joining.device.id, entry.request.dev_nonce) for entry in asked]
        )
        known = {
            entry.joining.device.id: _Known(
                {nonce for owner, nonce in used if owner == entry.joining.device.id},
                entry.joining.highest_dev_nonce,
                entry.joining.recent_joins,
                entry.joining.last_join_nonce,
            )
            for entry in asked
        }
        judged = _Judged()
        for entry in asked:
            self._judge(judged, entry, known[entry.joining.device.id])
        saved = await self._save(connection, judged.fresh)
        return [*judged.rejected, *saved, *await self._repeat(connection, judged.again, now_us)]

    def _judge(self, judged: _Judged, entry: _Asked, known: _Known) -> None:
        """Decide about one join-request; the nonces that it uses are known to the next one of this batch."""
        dev_nonce = entry.request.dev_nonce
        policy = policy_of(entry.joining.mac_version)
        match judge_dev_nonce(dev_nonce, known.used, policy=policy, highest=known.highest):
            case DevNonceVerdict.USED:
                judged.again.append(entry)
                return
            case DevNonceVerdict.NOT_INCREASING:
                judged.rejected.append(entry.reject(RejectReason.DEV_NONCE_NOT_INCREASING))
                return
            case DevNonceVerdict.FRESH:
                pass
        # Counted last: a replay, which anybody can send, must not use up the device's joins.
        if known.recent >= MOST_RECENT_JOINS:
            judged.rejected.append(entry.reject(RejectReason.DEVICE_FLOOD))
            return
        try:
            known.last_join_nonce = join_nonce = next_join_nonce(known.last_join_nonce)
        except OverflowError:
            judged.rejected.append(entry.reject(RejectReason.JOIN_NONCE_USED_UP))
            return
        known.used.add(dev_nonce)
        known.highest = dev_nonce if known.highest is None else max(known.highest, dev_nonce)
        known.recent += 1
        judged.fresh.append(self._make(entry, join_nonce))

    def _make(self, entry: _Asked, join_nonce: int) -> _Fresh:
        settings, device = self._settings, entry.joining.device
        keys = derive_session_keys(entry.app_key, join_nonce, settings.net_id, entry.request.dev_nonce)
        # The slot of the DevEUI, not device.slot: an imported session may still keep the device elsewhere.
        dev_addr = allocate_dev_addr(settings.net_id, slot_of_dev_eui(device.dev_eui), secrets.randbelow)
        sealed = AbpSession.seal(self._keys, device.dev_eui, dev_addr, keys.nwk_s_key, keys.app_s_key)
        session = NewSession(
            device.id,
            dev_addr,
            sealed.nwk_s_key_wrapped,
            sealed.app_s_key_wrapped,
            sealed.fingerprint,
            entry.request.dev_nonce,
            join_nonce,
            self._rx1_delay(entry),
            settings.rx2_data_rate if entry.joining.rx2_data_rate is None else entry.joining.rx2_data_rate,
        )
        accept = self._accept(join_nonce, dev_addr, session.rx1_delay, session.rx2_data_rate)
        return _Fresh(entry.group, entry.joining, keys, session, accept.to_bytes(entry.app_key))

    def _rx1_delay(self, entry: _Asked) -> int:
        """Seconds, by the profile or else the server's settings; more when all gateways nearby are far away."""
        settings, said = self._settings, entry.joining.rx1_delay
        delay = settings.rx1_delay if said is None else said
        is_far = nearest_gateway_us(best_receptions(entry.group.receptions)) > FAR_US
        return max(delay, settings.far_rx1_delay) if is_far else delay

    async def _save(self, connection: Connection, fresh: Sequence[_Fresh]) -> list[Admitted]:
        if not fresh:
            return []
        ids = await join_store.open_sessions(connection, [entry.session for entry in fresh], self._keys.kek_id)
        device_ids = list({entry.session.device_id for entry in fresh})
        superseded = await join_store.close_superseded(connection, device_ids, KEPT_UNUSED)
        await clear_join_rejections(connection, list({entry.joining.device.dev_eui for entry in fresh}))
        return [
            Admitted(
                entry.group,
                entry.joining.device,
                _held(
                    ids[entry.session.device_id, entry.session.dev_addr],
                    entry.session.device_id,
                    entry.keys,
                    Session(
                        entry.session.dev_addr,
                        rx1_delay=entry.session.rx1_delay,
                        rx2_dr=entry.session.rx2_data_rate,
                    ),
                    entry.group,
                ),
                entry.accept,
                repeated=False,
                superseded=superseded.get(entry.session.device_id, ()),
            )
            for entry in fresh
        ]

    async def _repeat(
        self, connection: Connection, again: Sequence[_Asked], now_us: int
    ) -> list[Admitted | JoinRejected]:
        """A used DevNonce gets the same accept while its session is new and unused, otherwise no answer.

        That it is the same join is proved by the keys: those of the last JoinNonce with this DevNonce are the
        session's. So a join whose accept was lost with the process is still answered by the next one.
        """
        if not again:
            return []
        unused = await join_store.read_unused_sessions(connection, [entry.joining.device.id for entry in again])
        outcomes: list[Admitted | JoinRejected] = []
        for entry in again:
            device, nonce = entry.joining.device, entry.joining.last_join_nonce
            refused = entry.reject(RejectReason.DEV_NONCE_USED)
            session = unused.get(device.id)
            if session is None or nonce is None:
                outcomes.append(refused)
                continue
            keys = derive_session_keys(entry.app_key, nonce, self._settings.net_id, entry.request.dev_nonce)
            is_recent = from_us(now_us) - session.activated_at <= timedelta(microseconds=JOIN_WINDOW_US)
            if not is_recent or not compare_digest(
                keys.nwk_s_key,
                self._keys.unwrap(
                    session.nwk_s_key_wrapped, session_owner(device.dev_eui, session.dev_addr, "nwk_s_key")
                ),
            ):
                outcomes.append(refused)
                continue
            accept = self._accept(nonce, session.dev_addr, session.rx1_delay, session.rx2_data_rate)
            state = Session(session.dev_addr, rx1_delay=session.rx1_delay, rx2_dr=session.rx2_data_rate)
            held = _held(session.id, device.id, keys, state, entry.group)
            outcomes.append(Admitted(entry.group, device, held, accept.to_bytes(entry.app_key), repeated=True))
        return outcomes

    def _accept(self, join_nonce: int, dev_addr: DevAddr, rx1_delay: int, rx2_data_rate: int) -> JoinAccept:
        return JoinAccept(
            join_nonce,
            self._settings.net_id,
            dev_addr,
            rx2_dr=rx2_data_rate,
            rx1_delay=rx1_delay,
            cf_list=EU868_CF_LIST,
        )


def _rejected(group: Group, request: JoinRequest, result: RejectReason) -> JoinRejected:
    return JoinRejected(group, result, request.dev_eui, request.dev_nonce)


def _held(session_id: int, device_id: int, keys: SessionKeys, state: Session, group: Group) -> HeldSession:
    at_us = group.time_us
    mac = first_state(EU868, state.dev_addr, at_us, joined=True)
    until_us = far_until_us(0, nearest_gateway_us(best_receptions(group.receptions)), at_us)
    progress = Progress(state, replace(mac, far_until_us=until_us) if until_us else mac)
    return HeldSession(session_id, device_id, SessionCipher(keys), progress)
