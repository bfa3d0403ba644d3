"""Devices imported from another LNS with keys and sessions, and keys that a tenant exports."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from operator import attrgetter
from typing import Any

from core.model.ownership import REGISTERED_ELSEWHERE
from core.runtime.postgres import Connection, PostgresError, UniqueViolationError
from lorawan.identifiers import DevAddr, slot_of_dev_addr
from registry.enrolment import AbpSession, OtaaKeys, UnknownProfile, create_device, read_enrolled
from registry.keys import KeyWrap, device_owner, session_owner
from registry.quotas import exceeded_quota
from registry.rows import fetch_all

IMPORT_ROOT_KEY = "SELECT import_root_key($1, $2, $3, $4, $5, $6, $7)"
CONTINUE_SESSION = "SELECT continue_session($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
SET_BEARER = """
UPDATE device SET lns_source_id = $2 WHERE id = $1 AND lns_source_id IS DISTINCT FROM $2::int RETURNING true
"""
EXPORT_KEYS = "SELECT * FROM export_keys($1, $2, $3)"
COUNT_OWN = "SELECT count(*) FROM device WHERE tenant_id = $1 AND dev_eui = ANY($2::bytea[])"

COUNTERS_AND_WINDOWS = attrgetter(
    "f_cnt_up", "f_cnt_down", "rx1_delay", "rx1_dr_offset", "rx2_data_rate", "rx2_frequency"
)
USES_A_SESSION = "55006"  # object_in_use


@dataclass(frozen=True, slots=True)
class ImportedSession:
    """A session as the other LNS had it. Counters name the *next* frame; RX1's delay is in seconds, RX2 in Hz."""

    dev_addr: bytes
    nwk_s_key: bytes = field(repr=False)
    app_s_key: bytes = field(repr=False)
    f_cnt_up: int
    f_cnt_down: int
    rx1_delay: int = 1
    rx1_dr_offset: int = 0
    rx2_data_rate: int = 0
    rx2_frequency: int = 869_525_000


@dataclass(frozen=True, slots=True)
class ImportedDevice:
    """A device as the other LNS had it. Without `app_key` it is ABP; without a session, too, it stays theirs."""

    dev_eui: bytes
    join_eui: bytes
    name: str
    device_profile_id: int
    app_key: bytes | None = field(repr=False)
    join_nonce: int | None  # The last one that it was given.
    session: ImportedSession | None
    lns_source_id: int | None = None


class Outcome(StrEnum):
    """The outcome of a device's import."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of one device's import; `french` says what was done, or why nothing was."""

    outcome: Outcome
    french: str


@dataclass(frozen=True, slots=True)
class ExportedKeys:
    """A device's keys, wrapped, and its newest session."""

    dev_eui: bytes
    join_eui: bytes
    name: str
    device_profile_id: int
    activation: str
    app_key_wrapped: bytes | None
    device_kek_id: str | None
    join_nonce: int | None
    dev_addr: bytes | None
    nwk_s_key_wrapped: bytes | None
    app_s_key_wrapped: bytes | None
    session_kek_id: str | None
    f_cnt_up: int | None
    f_cnt_down: int | None
    rx1_delay: int | None
    rx1_dr_offset: int | None
    rx2_data_rate: int | None
    rx2_frequency: int | None


async def import_device(connection: Connection, keys: KeyWrap, tenant_id: int, device: ImportedDevice) -> Imported:
    """Register it, or bring what is registered up to what is known elsewhere; the same again changes nothing.

    A name and a profile that are there already stay; a counter never goes back. A rejected device changes nothing.
    """
    try:
        async with connection.transaction():  # A savepoint: a rejected device leaves the others alone.
            return await _import(connection, keys, tenant_id, device)
    except UniqueViolationError:
        return Imported(Outcome.REFUSED, REGISTERED_ELSEWHERE)
    except UnknownProfile:
        return Imported(Outcome.REFUSED, f"profil {device.device_profile_id} introuvable")
    except PostgresError as refused:
        if (exceeded := exceeded_quota(refused)) is not None:
            return Imported(Outcome.REFUSED, exceeded.french)
        if refused.sqlstate != USES_A_SESSION:
            raise
        return Imported(Outcome.REFUSED, "parle déjà ici sous une autre session, que celle du fichier romprait")


async def _import(connection: Connection, keys: KeyWrap, tenant_id: int, device: ImportedDevice) -> Imported:
    known = await read_enrolled(connection, device.dev_eui)
    if known is not None and known.tenant_id != tenant_id:
        return Imported(Outcome.REFUSED, REGISTERED_ELSEWHERE)
    if known is not None:
        device_id = known.id
    else:
        new = {"dev_eui": device.dev_eui, "join_eui": device.join_eui, "name": device.name}
        new |= {"skip_f_cnt_check": False, "lns_source_id": None}
        device_id = await create_device(connection, tenant_id, device.device_profile_id, None, new)
    done = await _bring_up_to_date(connection, keys, device_id, device)
    if known is None:
        return Imported(Outcome.CREATED, "enregistré" + "".join(f", {what}" for what in done))
    return Imported(Outcome.UPDATED, ", ".join(done)) if done else Imported(Outcome.UNCHANGED, "déjà à jour")


async def _bring_up_to_date(
    connection: Connection, keys: KeyWrap, device_id: int, device: ImportedDevice
) -> list[str]:
    done: list[str] = []
    if device.app_key is not None and await _import_root_key(connection, keys, device_id, device, device.app_key):
        done.append("clé racine")
    session = device.session
    if session is not None and await _continue_session(connection, keys, device_id, device.dev_eui, session):
        done.append(f"session {session.dev_addr.hex()}")
    if device.lns_source_id is not None and await connection.fetchval(SET_BEARER, device_id, device.lns_source_id):
        done.append(f"messages par la source {device.lns_source_id}")
    return done


async def _import_root_key(
    connection: Connection, keys: KeyWrap, device_id: int, device: ImportedDevice, app_key: bytes
) -> bool:
    sealed = OtaaKeys.seal(keys, device.dev_eui, app_key)
    return await connection.fetchval(
        IMPORT_ROOT_KEY,
        device_id,
        device.join_eui,
        sealed.app_key_wrapped,
        sealed.kek_id,
        device.join_nonce,
        sealed.fingerprint,
        keys.equal_to(device_owner(device.dev_eui, "app_key"), app_key),
    )


async def _continue_session(
    connection: Connection, keys: KeyWrap, device_id: int, dev_eui: bytes, session: ImportedSession
) -> bool:
    dev_addr = DevAddr(session.dev_addr)
    sealed = AbpSession.seal(keys, dev_eui, dev_addr, session.nwk_s_key, session.app_s_key)
    return await connection.fetchval(
        CONTINUE_SESSION,
        device_id,
        dev_addr,
        slot_of_dev_addr(dev_addr),
        sealed.nwk_s_key_wrapped,
        sealed.app_s_key_wrapped,
        sealed.kek_id,
        *COUNTERS_AND_WINDOWS(session),
        sealed.fingerprint,
        keys.equal_to(session_owner(dev_eui, dev_addr, "keys"), session.nwk_s_key, session.app_s_key),
    )


async def count_own_devices(connection: Connection, tenant_id: int, dev_euis: Sequence[bytes]) -> int:
    """How many of these devices are the tenant's own."""
    return await connection.fetchval(COUNT_OWN, tenant_id, dev_euis)


async def export_keys(
    connection: Connection, actor: str, noted: Mapping[str, Any], dev_euis: Sequence[bytes] | None
) -> list[ExportedKeys]:
    """The keys of these devices of the transaction's tenant, or of all; the audit's line is written with it."""
    return await fetch_all(connection, ExportedKeys, EXPORT_KEYS, actor, noted, dev_euis)
