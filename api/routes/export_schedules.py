"""Scheduled drops: an export that is made again and again, its file put down in a folder or by SFTP."""

import hashlib
from base64 import b64decode, b64encode
from datetime import datetime
from typing import Annotated, Any, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_ssh_private_key,
    load_ssh_public_key,
)
from fastapi import APIRouter, Path, Response
from pydantic import AfterValidator, Field, SecretStr

from api.auth import Caller, Change, Manager, Reader
from api.fields import INT4_MOST, Id, MqttText, Name, Patch, ShortText, answer_of, example, revealed
from api.pages import Cursor, Limit, Page, Paging, page_of
from api.resources import Resource
from api.routes.exports import ExportChoice, choose
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid, not_found
from core.runtime.postgres import Connection
from ingest.exports import folder, timetable
from ingest.exports import schedule_store as store
from ingest.exports.schedule_store import ExportDrop, ExportSchedule
from ingest.exports.store import Selection
from ingest.exports.timetable import Timetable

router = APIRouter(prefix="/v1/export-schedules", tags=["exports"], responses=PROBLEM_RESPONSES)

HOST_KEY_MOST, SECRET_MOST = 2000, 20_000
SFTP_PORT = 22
OF_SFTP = ("host", "username", "password", "private_key", "host_key")
UNDER_WAY_TEXT = "ce dépôt est en cours : attendez sa fin"
Frequency = Literal["hours", "day", "week", "month"]
Password = Annotated[
    SecretStr,
    Field(
        min_length=1,
        max_length=1000,
        json_schema_extra={"writeOnly": True, "examples": ["…"]},
        description="Mot de passe SFTP ; scellé au repos, l'API ne le montre pas",
    ),
]
PrivateKey = Annotated[
    SecretStr,
    Field(
        min_length=1,
        max_length=SECRET_MOST,
        json_schema_extra={"writeOnly": True, "examples": ["-----BEGIN OPENSSH PRIVATE KEY-----…"]},
        description="Clé privée, OpenSSH ou PEM, sans phrase de passe, au lieu du mot de passe ; scellée au repos",
    ),
]
DropNumber = Annotated[int, Path(ge=1, le=INT4_MOST, description="Numéro du dépôt")]


def checked_host_key(text: str) -> str:
    """A host key as OpenSSH writes it, without its comment; raises ValueError for anything else."""
    parts = text.split()
    try:
        load_ssh_public_key(" ".join(parts[:2]).encode())
    except (ValueError, UnsupportedAlgorithm, IndexError):
        message = "clé de machine attendue, comme « ssh-ed25519 AAAA… » (ssh-keyscan, ou l'exploitant du serveur)"
        raise ValueError(message) from None
    return " ".join(parts[:2])


HostKey = Annotated[
    str,
    Field(
        max_length=HOST_KEY_MOST,
        description="Seule clé de machine acceptée, comme OpenSSH l'écrit ; absente : l'essai montre celle du "
        "serveur, à accepter",
        examples=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA…"],
    ),
    AfterValidator(checked_host_key),
]


def fingerprint_of(host_key: str | None) -> str | None:
    """As `ssh-keygen -l` says it, for people to compare."""
    if host_key is None:
        return None
    digest = hashlib.sha256(b64decode(host_key.split()[1])).digest()
    return "SHA256:" + b64encode(digest).decode().rstrip("=")


class NewExportSchedule(ExportChoice):
    """Un dépôt planifié : quoi, quand, où."""

    model_config = example(
        {
            "name": "Bacs, chaque nuit",
            "quantity": "fill_level",
            "spreadsheet": True,
            "frequency": "day",
            "at_hour": 2,
            "target": "sftp",
            "host": "sftp.collecte.example",
            "username": "territoire",
            "password": "…",
            "directory": "entree",
        }
    )

    name: Name = Field(examples=["Bacs, chaque nuit"])
    frequency: Frequency = Field(
        "day", description="Chaque jour, semaine ou mois à `at_hour`, ou toutes les `every_hours` heures (`hours`)"
    )
    every_hours: Literal[1, 2, 3, 4, 6, 8, 12] | None = Field(None, description="Avec `hours` seulement")
    at_hour: int = Field(2, ge=0, le=23, description="Heure locale")
    on_day: int = Field(1, ge=1, le=28, description="Jour de la semaine (1 : lundi) ou du mois")
    covers: Literal["previous", "since_last"] = Field(
        "previous", description="Le jour, la semaine, le mois ou les heures d'avant ; ou depuis le dernier dépôt"
    )
    file_name: ShortText | None = Field(
        None,
        description="Nom du fichier : `{date}` dernier jour, `{from}` premier jour, `{month}`, `{instant}` fin en "
        "UTC ; absent : `mesures-{date}.csv`, selon la forme",
        examples=["bacs_{date}.csv"],
    )
    checksum_file: bool = Field(False, description="Déposer aussi son empreinte SHA-256, nom suivi de .sha256")
    target: Literal["folder", "sftp"] = Field(description="Un dossier de l'exploitant, ou un serveur SFTP")
    directory: str = Field(
        "",
        max_length=400,
        description="Sous le dossier de la collectivité ; sur un serveur, absolu ou du compte",
        examples=["entree/bacs"],
    )
    host: MqttText | None = Field(None, description="Serveur SFTP", examples=["sftp.collecte.example"])
    port: int = Field(SFTP_PORT, ge=1, le=65_535, description="22 ou 2222 ; tout autre si l'hôte est autorisé")
    username: MqttText | None = Field(None, description="Compte SFTP", examples=["territoire"])
    password: Password | None = None
    private_key: PrivateKey | None = None
    host_key: HostKey | None = None


class ExportSchedulePatch(Patch):
    """Suspendre ou reprendre, accepter une clé de machine, changer le mot de passe ; le reste se refait."""

    model_config = example({"enabled": True})

    enabled: bool | None = Field(
        None, description="false suspend ; true reprend, désormais avec les droits de qui reprend"
    )
    host_key: HostKey | None = None
    password: Password | None = None
    private_key: PrivateKey | None = None


class ExportDropAnswer(answer_of(ExportDrop, {"tenant_id", "placed"})):
    """Un dépôt : son reçu."""

    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to")
    state: Literal["waiting", "writing", "sending", "done", "failed"] = Field(
        description="waiting : attend ; writing : le fichier s'écrit ; sending : il part ; done : il est arrivé ; "
        "failed : abandonné, ou refusé"
    )
    attempts: int = Field(description="Essais faits")
    next_at: datetime = Field(description="Quand le prochain essai aura lieu, s'il y en a un")
    export_id: int | None = Field(description="L'export dont vient le fichier, tant qu'il est gardé")
    reason: str | None = Field(description="Pourquoi le dernier essai a échoué")
    digest: str | None = Field(description="SHA-256 du fichier, en hexadécimal", examples=["9f86d081884c7d65…"])


class ExportScheduleAnswer(answer_of(ExportSchedule, {"tenant_id", "key_id", "person_id"})):
    """Un dépôt planifié, sans son mot de passe, et son dernier reçu."""

    id: int
    frequency: Frequency
    covers: Literal["previous", "since_last"]
    target: Literal["folder", "sftp"]
    selection: dict[str, Any] = Field(description="Les filtres demandés")
    authentication: str | None = Field(description="password ou private_key")
    host_key_fingerprint: str | None = Field(description="De la clé acceptée")
    seen_host_key_fingerprint: str | None = Field(description="De celle que le serveur a montrée au dernier essai")
    stopped_reason: str | None = Field(description="Pourquoi il s'est arrêté de lui-même")
    next_at: datetime = Field(description="Le prochain dépôt")
    covered_until: datetime = Field(description="Jusqu'où va ce qui a été déposé")
    test_wanted: bool = Field(description="Un essai attend")
    test_reason: str | None = Field(description="Pourquoi le dernier essai a échoué")
    failing_since: datetime | None = Field(description="Depuis quand une alerte le dit en échec")
    last_drop: ExportDropAnswer | None = None


def show_drop(drop: ExportDrop) -> ExportDropAnswer:
    """A receipt as people read it."""
    digest = None if drop.digest is None else drop.digest.hex()
    return ExportDropAnswer.model_validate({name: getattr(drop, name) for name in _RECEIPT} | {"digest": digest})


def show(schedule: ExportSchedule, last: ExportDrop | None = None) -> ExportScheduleAnswer:
    """A schedule, with its last receipt."""
    fields: dict[str, Any] = {name: getattr(schedule, name) for name in _SHOWN}
    return ExportScheduleAnswer.model_validate(
        fields
        | {
            "host_key_fingerprint": fingerprint_of(schedule.host_key),
            "seen_host_key_fingerprint": fingerprint_of(schedule.seen_host_key),
            "last_drop": None if last is None else show_drop(last),
        }
    )


_RECEIPT = ExportDropAnswer.model_fields.keys() - {"digest"}
_SHOWN = ExportScheduleAnswer.model_fields.keys() - {
    "host_key_fingerprint", "seen_host_key_fingerprint", "last_drop",
}  # fmt: skip
SCHEDULES = Resource("export_schedule", "dépôt planifié", store.read_schedule, show)


def _timetable_of(body: NewExportSchedule) -> Timetable:
    """Raises 422 for a time that never comes."""
    if (body.frequency == "hours") != (body.every_hours is not None):
        raise invalid("every_hours", "hours", "« every_hours » va avec « frequency » hours, et avec lui seul")
    problem = timetable.day_problem(body.frequency, body.on_day)
    if problem is not None:
        raise invalid("on_day", "day", problem)
    return Timetable(body.frequency, body.every_hours, body.at_hour, body.on_day, body.covers)


def _check_place(body: NewExportSchedule) -> None:
    """Raises 422 for what does not say where."""
    if body.target == "folder":
        given = next((name for name in OF_SFTP if getattr(body, name) is not None), None)
        if given is not None:
            raise invalid(given, "unexpected", "un dossier n'a ni serveur, ni compte, ni clé")
        if not folder.is_inside(body.directory):
            raise invalid("directory", "path", "un chemin relatif est attendu, sans « .. » : « entree/bacs »")
        return
    for name, what in (("host", "serveur"), ("username", "compte")):
        if getattr(body, name) is None:
            raise invalid(name, "missing", f"{what} attendu pour SFTP")
    if not body.directory.isprintable():
        raise invalid("directory", "path", "chemin illisible")
    if (body.password is None) == (body.private_key is None):
        raise invalid("password", "secret", "un mot de passe ou une clé privée, et un seul des deux")
    _check_private_key(body.private_key)


def _check_private_key(key: SecretStr | None) -> None:
    if key is None:
        return
    octets = key.get_secret_value().strip().encode() + b"\n"
    load = load_ssh_private_key if b"OPENSSH" in octets[:60] else load_pem_private_key
    try:
        load(octets, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        message = "clé privée OpenSSH ou PEM attendue, entière et sans phrase de passe"
        raise invalid("private_key", "key", message) from None


def _owner(caller: Caller, change: Change) -> dict[str, Any]:
    """Whose rights hold at each run."""
    principal = caller.principal
    return {
        "requested_by": change.actor,
        "key_id": principal.key_id or None,
        "person_id": principal.person_id,
    }


@router.post("", operation_id="createExportSchedule", status_code=201, summary="Planifier un dépôt de fichiers")
async def create(body: NewExportSchedule, caller: Manager) -> ExportScheduleAnswer:
    """Un export refait à heure fixe et déposé dans un dossier ou par SFTP, avec les droits de qui le demande.

    Un premier essai de l'endroit suit aussitôt. En SFTP rien ne part avant que la clé de machine soit acceptée.
    """
    body.check_form()
    when = _timetable_of(body)
    _check_place(body)
    pattern = body.file_name or timetable.usual_name(when, body.format)
    problem = timetable.name_problem(pattern, when)
    if problem is not None:
        raise invalid("file_name", "pattern", problem)
    is_sftp = body.target == "sftp"
    chosen = body.selection()
    secret = revealed(body.password) or revealed(body.private_key)
    fields = body.model_dump(
        include={
            *(
                "name",
                "format",
                "spreadsheet",
                "bucket",
                "frequency",
                "every_hours",
                "at_hour",
                "on_day",
                "covers",
            ),
            *("checksum_file", "target", "directory", "host", "username", "host_key"),
        }
    )
    async with caller.changing() as change:
        streams = await choose(change.connection, Selection(**chosen), "body")
        await caller.audit_personal(change.connection, streams=streams)
        now, zone = await store.clock(change.connection)
        made = await store.create_schedule(
            change.connection,
            caller.platform.keys,
            change.tenant_id,
            secret,
            fields
            | _owner(caller, change)
            | {
                "selection": chosen,
                "file_name": pattern,
                "port": body.port if is_sftp else None,
                "authentication": None if not is_sftp else "password" if body.password else "private_key",
                "next_at": timetable.next_due(when, now, zone),
            },
        )
        shown = show(await SCHEDULES.get(change.connection, made))
        await change.audit("create", "export_schedule", made, after=shown)
    return shown


@router.get("", operation_id="listExportSchedules", summary="Lister les dépôts planifiés")
async def list_all(caller: Reader) -> Page[ExportScheduleAnswer]:
    """Ceux de la collectivité, chacun avec son dernier reçu."""
    async with caller.reading() as connection:
        found = await store.list_schedules(connection)
        last = await store.last_drops(connection)
    return Page(items=[show(one, last.get(one.id)) for one in found], next=None)


@router.get("/{id}", operation_id="getExportSchedule", summary="Lire un dépôt planifié")
async def read(id: Id, caller: Reader) -> ExportScheduleAnswer:
    """Où il dépose, quand, et comment le dernier essai s'est passé."""
    async with caller.reading() as connection:
        schedule = await SCHEDULES.get(connection, id)
        last = await store.list_drops(connection, id, most=1)
    return show(schedule, last[0] if last else None)


@router.patch("/{id}", operation_id="updateExportSchedule", summary="Suspendre ou reprendre un dépôt planifié")
async def update(id: Id, body: ExportSchedulePatch, caller: Manager) -> ExportScheduleAnswer:
    """Suspendre, reprendre, accepter une clé de machine, ou donner un autre mot de passe ou une autre clé."""
    if not body.changed():
        raise Problem(422, "rien à changer : enabled, host_key, password ou private_key attendu")
    _check_private_key(body.private_key)
    async with caller.changing() as change:
        former = await SCHEDULES.own(change, id)
        await _change(change, former, body, caller)
        shown = show(await SCHEDULES.get(change.connection, id))
        renewed = {"secret": "changé"} if body.password or body.private_key else {}
        await change.audit("update", "export_schedule", id, renewed, before=show(former), after=shown)
    return shown


async def _change(change: Change, former: ExportSchedule, body: ExportSchedulePatch, caller: Caller) -> None:
    secrets = {"password": body.password, "private_key": body.private_key}
    for name, secret in secrets.items():
        if secret is not None:
            if former.authentication != name:
                raise invalid(name, "unexpected", "ce dépôt s'authentifie autrement : refaites-le")
            keys = caller.platform.keys
            await store.set_secret(change.connection, keys, former.id, secret.get_secret_value())
            await store.want_test(change.connection, former.id)
    now, zone = await store.clock(change.connection)
    next_at = timetable.next_due(former.timetable, now, zone)
    if body.host_key is not None:
        if former.target != "sftp":
            raise invalid("host_key", "unexpected", "un dossier n'a pas de clé de machine")
        await store.set_host_key(change.connection, former.id, body.host_key, next_at)
        await store.want_test(change.connection, former.id)
    if body.enabled:
        await store.resume(change.connection, former.id, **_owner(caller, change), next_at=next_at)
    elif body.enabled is not None:
        await store.suspend(change.connection, former.id)


@router.delete("/{id}", operation_id="deleteExportSchedule", status_code=204, summary="Retirer un dépôt planifié")
async def delete(id: Id, caller: Manager) -> Response:
    """Avec ses reçus ; les fichiers déposés restent où ils sont."""
    return await SCHEDULES.delete(caller, id, store.delete_schedule)


@router.post("/{id}/test", operation_id="testExportSchedule", summary="Essayer l'endroit d'un dépôt planifié")
async def test(id: Id, caller: Manager) -> ExportScheduleAnswer:
    """Un petit fichier y est écrit puis retiré, dans les secondes qui suivent : `tested_at`, `test_reason`."""
    async with caller.changing() as change:
        former = await SCHEDULES.own(change, id)
        await store.want_test(change.connection, id)
        shown = show(await SCHEDULES.get(change.connection, id))
        await change.audit("test", "export_schedule", id, before=show(former), after=shown)
    return shown


@router.post(
    "/{id}/drops",
    operation_id="createExportDrop",
    status_code=201,
    summary="Déposer maintenant",
)
async def drop_now(id: Id, caller: Manager) -> ExportDropAnswer:
    """La période qu'il aurait à cette heure ; si elle a été déposée, son fichier est refait et remplacé."""
    async with caller.changing() as change:
        schedule = await SCHEDULES.own(change, id)
        if schedule.waits_for_host_key:
            raise Problem(409, "la clé de machine du serveur n'est pas encore acceptée")
        since, until, name = await _period_of(change.connection, schedule)
        drop = await store.drop_now(change.connection, schedule, since, until, name)
        if drop is None:
            raise Problem(409, UNDER_WAY_TEXT)
        shown = show_drop(drop)
        await change.audit("export.drop_now", "export_schedule", id, after=shown)
    return shown


async def _period_of(connection: Connection, schedule: ExportSchedule) -> tuple[datetime, datetime, str]:
    now, zone = await store.clock(connection)
    if schedule.covers == "previous":
        since, until = timetable.previous_period(schedule.timetable, now, zone)
    else:
        since, until = schedule.covered_until, now.replace(microsecond=0)
        if since >= until:
            raise Problem(409, "rien depuis le dernier dépôt")
    return since, until, timetable.file_name_of(schedule.file_name, since, until, zone)


@router.get("/{id}/drops", operation_id="listExportDrops", summary="Lister les reçus d'un dépôt planifié")
async def list_drops(id: Id, caller: Reader, cursor: Cursor = None, limit: Limit = 100) -> Page[ExportDropAnswer]:
    """Le dernier d'abord ; gardés 400 jours."""
    paging = Paging(limit, cursor)
    async with caller.reading() as connection:
        await SCHEDULES.get(connection, id)
        found = await store.list_drops(connection, id, before=paging.before, most=paging.most)
    return page_of(found, paging.limit, show_drop)


@router.post(
    "/{id}/drops/{number}/repeat", operation_id="repeatExportDrop", summary="Refaire un dépôt, de la même période"
)
async def repeat(id: Id, number: DropNumber, caller: Manager) -> ExportDropAnswer:
    """Sous le même nom : le fichier qu'il a déposé, et lui seul, est remplacé."""
    async with caller.changing() as change:
        await SCHEDULES.own(change, id)
        former = await store.read_drop(change.connection, id, number)
        if former is None:
            raise not_found(f"dépôt {number}")
        drop = await store.repeat_drop(change.connection, id, number)
        if drop is None:
            raise Problem(409, UNDER_WAY_TEXT)
        shown = show_drop(drop)
        await change.audit("export.repeat", "export_schedule", id, before=show_drop(former), after=shown)
    return shown
