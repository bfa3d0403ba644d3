"""Sensors' health: what is wrong with which sensor, how reliable models are, how long assets went unheard."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Self

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator, Field

from alerting import health
from alerting.health import LOOKED_AT_MOST, JudgedSensor, ModelReliability, Unavailability
from alerting.health_store import API, SensorFilter
from alerting.rules.sensor_health import CAUSES_FR, Cause, CauseName
from api.auth import Caller, Reader
from api.extent import CommuneOrCode, Placed
from api.fields import INT4_MOST, PRINTABLE, Answer, AssetKind, Eui, Insee, answer_of
from api.list_fields import Quarter, Tag
from api.pages import Page, Paged, Paging, page_of
from core.runtime.http.errors import PROBLEM_RESPONSES
from registry.bulk_imports.kinds import csv_lines, harmless
from registry.places import ANYWHERE

router = APIRouter(prefix="/v1", tags=["devices"], responses=PROBLEM_RESPONSES)

CAUSES_TEXT = (
    "`never_heard` jamais entendu ; `silent` plus rien depuis deux fois l'intervalle attendu ; `codec_failing` "
    "messages illisibles ; `misconfigured` clé, compteur, intervalle ou profil ; `losing` messages perdus, par "
    "FCnt ; `weak` peu de marge radio ; `low_battery` pile basse, ou bientôt vide ; `flat` valeur figée"
)
CSV = "text/csv; charset=utf-8"
MARK = "\ufeff"
COLUMNS = (
    "dev_eui", "capteur", "fabricant", "modele", "equipement", "type", "insee", "commune", "causes", "constats",
    "inconnu", "derniere_reception", "passerelle", "rssi_dbm", "snr_db", "marge_db", "pertes_pourcent",
    "illisibles_pourcent", "pile_pourcent", "fin_de_pile",
)  # fmt: skip

# To a quarter of an hour.
ShownDays = Annotated[float, AfterValidator(partial(round, ndigits=2))]
Days = Annotated[int, Query(ge=1, le=730, description="Sur combien de jours, jusqu'à maintenant")]


class FindingAnswer(Answer):
    """Un constat."""

    cause: CauseName
    text: str = Field(examples=["muet depuis 5 h, attendu toutes les 60 min"])


class SensorHealthAnswer(Answer):
    """Un capteur et comment il va ; null : on ne le sait pas."""

    dev_eui: Eui
    name: str
    vendor: str
    model: str
    device_profile_id: int
    asset_id: int | None
    asset_name: str | None
    asset_kind: str | None
    commune: str | None
    insee: Insee | None
    causes: list[CauseName] = Field(description=f"Ce qui ne va pas, le plus grave d'abord : {CAUSES_TEXT}")
    findings: list[FindingAnswer]
    unknown: list[CauseName] = Field(description="Ce dont on ne peut rien dire : trop peu de messages, ou pas dit")
    expected_interval_s: float
    last_heard_at: datetime | None
    gateway_id: str | None = Field(
        description="La passerelle qui l'entend le mieux ; null : aucune, ou d'un autre"
    )
    rssi: float | None = Field(description="dBm, médiane des 20 derniers messages")
    snr: float | None = Field(description="dB, médiane des 20 derniers messages")
    margin_db: float | None = Field(description="SNR au-dessus de ce que demande son débit, dB")
    lost_percent: float | None = Field(description="Messages perdus en un jour, ou en 24 intervalles")
    unreadable_percent: float | None = Field(description="Messages illisibles des 20 derniers")
    battery_percent: float | None
    battery_ends_at: datetime | None = Field(description="Quand la pile sera vide, à ce rythme ; null : inconnu")

    @classmethod
    def of(cls, one: JudgedSensor) -> Self:
        """The sensor and what was found."""
        sensor, found = one.sensor, one.health
        return cls(
            dev_eui=sensor.dev_eui.hex(),
            name=sensor.name,
            vendor=sensor.vendor,
            model=sensor.model,
            device_profile_id=sensor.device_profile_id,
            asset_id=sensor.asset_id,
            asset_name=sensor.asset_name,
            asset_kind=sensor.asset_kind,
            commune=sensor.commune,
            insee=sensor.insee,
            causes=[cause.value for cause in found.causes],
            findings=[FindingAnswer(cause=each.cause.value, text=each.text) for each in found.findings],
            unknown=[cause.value for cause in found.unknown],
            expected_interval_s=sensor.expected_interval.total_seconds(),
            last_heard_at=found.last_heard_at,
            gateway_id=found.gateway,
            rssi=found.rssi,
            snr=found.snr,
            margin_db=found.margin_db,
            lost_percent=found.lost_percent,
            unreadable_percent=found.unreadable_percent,
            battery_percent=found.battery_percent,
            battery_ends_at=found.battery_ends_at,
        )


class ModelReliabilityAnswer(answer_of(ModelReliability)):
    """Les capteurs d'un modèle, et combien de fois l'un d'eux s'est tu."""

    served_days: ShownDays = Field(description="Jours en service, de tous ensemble")
    failures: int | None = Field(description="Silences (la règle des capteurs muets) ; null : personne ne veille")
    silent_days: ShownDays
    mtbf_days: float | None = Field(
        description="Jours de service entre deux silences (MTBF) ; null : aucun silence, ou personne ne veille"
    )


class UnavailabilityAnswer(answer_of(Unavailability)):
    """Un actif, et combien de temps son capteur s'est tu."""

    insee: str | None
    served_days: ShownDays = Field(description="Jours pendant lesquels un capteur le servait")
    unavailable_days: ShownDays | None = Field(description="Dont sans nouvelles ; null : aucune règle ne veille")


def wanted_sensors(
    model: Annotated[str | None, Query(max_length=200, pattern=PRINTABLE, description="Modèle, exact")] = None,
    device_profile_id: Annotated[int | None, Query(ge=1, le=INT4_MOST, description="Profil")] = None,
    kind: AssetKind = None,
    dev_eui: Annotated[
        str | None, Query(pattern="^[0-9a-fA-F]{16}$", description="Un seul capteur, par son DevEUI")
    ] = None,
    tag: Tag = None,
    quarter: Quarter = None,
    place: Placed = ANYWHERE,
) -> SensorFilter:
    """Which sensors are judged."""
    octets = None if dev_eui is None else bytes.fromhex(dev_eui)
    return SensorFilter(None, model, device_profile_id, kind, octets, tag, quarter, place)


Wanted = Annotated[SensorFilter, Depends(wanted_sensors)]


class Selection:
    """Which of the sensors that were judged."""

    def __init__(
        self,
        cause: Annotated[CauseName | None, Query(description=f"Seulement ceux-là : {CAUSES_TEXT}")] = None,
        gateway_id: Annotated[
            str | None, Query(pattern="^[0-9a-fA-F]{16}$", description="La passerelle qui les entend le mieux")
        ] = None,
        sound: Annotated[bool, Query(description="true : aussi ceux chez qui tout va bien")] = False,
    ) -> None:
        self._cause = None if cause is None else Cause(cause)
        self._gateway_id = None if gateway_id is None else gateway_id.lower()
        self._sound = sound

    def __call__(self, one: JudgedSensor) -> bool:
        """Whether this one is wanted."""
        causes = one.health.causes
        is_wanted = self._sound or bool(causes) if self._cause is None else self._cause in causes
        return is_wanted and self._gateway_id in (None, one.health.gateway)


Selected = Annotated[Selection, Depends()]


@router.get("/sensor-health", operation_id="listSensorHealth", summary="Lister les capteurs qui vont mal")
async def list_sensors(
    caller: Reader, paging: Paged, wanted: Wanted, selected: Selected
) -> Page[SensorHealthAnswer]:
    """Ce qui ne va pas chez chaque capteur en service, et ce qu'on n'en sait pas (docs/sante-des-capteurs.md).

    Une page peut être incomplète, même vide : `next` dit où continuer.
    """
    return await find_page(caller, paging, wanted, selected, LOOKED_AT_MOST)


async def find_page(
    caller: Caller, paging: Paging, wanted: SensorFilter, selected: Selection, looked_at_most: int
) -> Page[SensorHealthAnswer]:
    """What is wrong with sensors, of so many that are judged."""
    async with caller.reading() as connection:
        found = await health.find_sensors(
            connection,
            API,
            wanted,
            datetime.now(UTC),
            after=paging.after,
            most=paging.limit,
            looked_at_most=looked_at_most,
            is_wanted=selected,
        )
        await caller.audit_personal(connection, devices=[one.id for one in found.sensors])
    following = None if found.after is None else str(found.after)
    return Page(items=[SensorHealthAnswer.of(one) for one in found.sensors], next=following)


async def read_model_names(caller: Caller) -> list[str]:
    """To choose from."""
    async with caller.reading() as connection:
        return await health.list_model_names(connection)


@router.get(
    "/sensor-health/export.csv",
    operation_id="exportSensorHealth",
    summary="Exporter la santé des capteurs",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
async def export(caller: Reader, wanted: Wanted, selected: Selected) -> StreamingResponse:
    """La même liste, entière, pour un tableur."""
    headers = {"Content-Disposition": 'attachment; filename="sante-des-capteurs.csv"'}
    return StreamingResponse(_exported(caller, wanted, selected), media_type=CSV, headers=headers)


async def _exported(caller: Caller, wanted: SensorFilter, selected: Selection) -> AsyncGenerator[str]:
    yield MARK + csv_lines([COLUMNS])
    now, after = datetime.now(UTC), 0
    while True:
        async with caller.reading() as connection:
            found = await health.find_sensors(connection, API, wanted, now, after=after, is_wanted=selected)
            await caller.audit_personal(connection, devices=[one.id for one in found.sensors])
        yield csv_lines([map(harmless, _cells(one)) for one in found.sensors])
        if found.after is None:
            return
        after = found.after


def _cells(one: JudgedSensor) -> list[str]:
    sensor, found = one.sensor, one.health
    return [
        sensor.dev_eui.hex(), sensor.name, sensor.vendor, sensor.model, sensor.asset_name or "",
        sensor.asset_kind or "", sensor.insee or "", sensor.commune or "",
        ", ".join(CAUSES_FR[cause] for cause in found.causes), " ; ".join(each.text for each in found.findings),
        ", ".join(CAUSES_FR[cause] for cause in found.unknown), _instant(found.last_heard_at), found.gateway or "",
        *map(_number, (found.rssi, found.snr, found.margin_db, found.lost_percent, found.unreadable_percent,
                       found.battery_percent)),
        "" if found.battery_ends_at is None else f"{found.battery_ends_at:%Y-%m-%d}",
    ]  # fmt: skip


def _instant(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:g}".replace(".", ",")


@router.get(
    "/sensor-health/models", operation_id="listModelReliability", summary="Lire la fiabilité de chaque modèle"
)
async def list_models(caller: Reader, days: Days = 365) -> Page[ModelReliabilityAnswer]:
    """Combien de jours de service entre deux silences (MTBF), par modèle."""
    now = datetime.now(UTC)
    async with caller.reading() as connection:
        found = await health.list_models(connection, now - timedelta(days=days), now)
    return Page(items=[ModelReliabilityAnswer.model_validate(one) for one in found], next=None)


@router.get(
    "/asset-unavailability",
    operation_id="listAssetUnavailability",
    summary="Lister les jours sans nouvelles de chaque actif",
)
async def list_unavailable(
    caller: Reader, paging: Paged, days: Days = 90, commune: CommuneOrCode = None, kind: AssetKind = None
) -> Page[UnavailabilityAnswer]:
    """Combien de jours le capteur de chaque actif s'est tu, par les alertes de capteurs muets."""
    now = datetime.now(UTC)
    async with caller.reading() as connection:
        found = await health.list_unavailable(
            connection, now - timedelta(days=days), now,
            after=paging.after, most=paging.most, commune=commune, kind=kind,
        )  # fmt: skip
        await caller.audit_personal(connection, assets=[one.id for one in found[: paging.limit]])
    return page_of(found, paging.limit, UnavailabilityAnswer.model_validate)
