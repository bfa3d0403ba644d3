"""What local authorities ask about their bins: for how many days they were full, when they were emptied."""

from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from api.auth import Reader
from api.extent import Commune, CommuneOrCode
from api.fields import INT4_MOST, Answer, AssetKind, Day
from api.pages import Page
from core.runtime.http.errors import PROBLEM_RESPONSES, FieldError, Problem
from core.runtime.postgres import Connection
from indicators.waste import days_above_store as store
from indicators.waste.days_above import Bin, DaysAbove, Grouping, days_above
from indicators.waste.forecasts import BinForecast, read_forecasts
from indicators.waste.rounds.execution_store import read_known_emptyings

MOST = 2000
MOST_YEARS = 10
MOST_EMPTYINGS = 5000

router = APIRouter(prefix="/v1/waste", tags=["waste"], responses=PROBLEM_RESPONSES)


class DaysAboveAnswer(Answer):
    """Les jours d'une borne, d'un mois, d'une commune. `above`, `below` et `unknown` font `days`."""

    datastream_id: int | None = Field(description="Le flux de remplissage ; null si `by` n'a pas `bin`")
    asset_id: int | None
    name: str | None
    commune: str | None = Field(description="Null si `by` n'a ni `bin` ni `commune`")
    insee: str | None
    month: str | None = Field(description="Null si `by` n'a pas `month`", examples=["2026-10"])
    bins: int = Field(description="Combien de bornes y sont comptées")
    days: int = Field(description="Jours comptés, chaque borne à partir de son premier jour mesuré")
    above: float = Field(description="Jours au seuil ou au-dessus, pondérés par le temps", examples=[6.55])
    below: float = Field(description="Jours sous le seuil", examples=[20.95])
    unknown: float = Field(
        description="Jours dont personne ne sait rien : plus de deux intervalles attendus sans mesure",
        examples=[2.5],
    )


class DaysAbovePage(Page[DaysAboveAnswer]):
    """Les jours au seuil ou au-dessus, avec ce que l'on ignore à part."""

    threshold: int
    since: date = Field(alias="from")
    until: date = Field(alias="to", description="Non compris : le jour en cours ne compte pas encore")


def _answer(group: DaysAbove) -> DaysAboveAnswer:
    one = group.bin
    return DaysAboveAnswer(
        datastream_id=None if one is None else one.datastream_id,
        asset_id=None if one is None else one.asset_id,
        name=None if one is None else one.name,
        commune=group.commune,
        insee=group.insee,
        month=None if group.month is None else f"{group.month:%Y-%m}",
        bins=group.bins,
        days=group.days,
        above=round(group.above, 4),
        below=round(group.below, 4),
        unknown=round(group.unknown, 4),
    )


def _rejected(field: str, code: str, message: str) -> Problem:
    return Problem(422, message, errors=[FieldError(field=f"query.{field}", code=code, message=message)])


@dataclass(frozen=True, slots=True)
class Wanted:
    """Of which bins, and of which local days."""

    since: Annotated[Day, Query(alias="from", description="Premier jour", examples=["2026-10-01"])]
    until: Annotated[
        Day | None, Query(alias="to", description="Dernier jour, non compris ; absent : aujourd'hui")
    ] = None
    datastream_id: Annotated[
        list[Annotated[int, Field(ge=1, le=INT4_MOST)]] | None,
        Query(max_length=MOST, description="Flux de remplissage ; répétable ; absent : tous", examples=[[42]]),
    ] = None
    kind: AssetKind = None
    commune: CommuneOrCode = None

    @property
    def is_whole(self) -> bool:
        """Whether all bins are wanted."""
        return self.datastream_id is None and self.kind is None and self.commune is None

    async def period(self, connection: Connection, years: int) -> tuple[date, date]:
        """The days that are over.

        Raises:
            Problem: 422, there are none, or more than so many years.
        """
        end = min(self.until or date.max, await store.read_today(connection))
        if not self.since < end or end.year - self.since.year > years:
            message = f"« from » doit précéder « to » et le jour en cours, de {years} ans au plus"
            raise _rejected("from", "range", message)
        return self.since, end

    async def bins(self, connection: Connection) -> list[Bin]:
        """The bins.

        Raises:
            Problem: 422, there are too many.
        """
        bins = await store.select_bins(
            connection, self.datastream_id, kind=self.kind, commune=self.commune, most=MOST + 1
        )
        if len(bins) > MOST:
            message = f"plus de {MOST} flux : précisez « datastream_id », « kind » ou « commune »"
            raise _rejected("datastream_id", "too_long", message)
        return bins


WantedQuery = Annotated[Wanted, Depends()]


@router.get("/days-above", summary="Compter les jours où des bornes sont pleines")
async def list_days_above(
    caller: Reader,
    wanted: WantedQuery,
    threshold: Annotated[int, Query(ge=1, le=100, description="Seuil, en pour cent", examples=[75])] = 75,
    by: Annotated[
        list[Grouping] | None,
        Query(max_length=3, description="Par borne, par mois, par commune ; répétable ; absent : par borne"),
    ] = None,
) -> DaysAbovePage:
    """Les jours locaux écoulés, pondérés par le temps : une borne pleine deux heures l'est pour 2/24 de jour.

    Un niveau vaut jusqu'à la mesure suivante, pour deux intervalles attendus au plus ; le reste est inconnu. Au
    seuil exactement, une borne est pleine, comme pour une alerte à `>=`. Jusqu'à 2 000 flux et 10 ans.
    """
    async with caller.reading() as connection:
        period = await wanted.period(connection, MOST_YEARS)
        bins = await wanted.bins(connection)
        ids = [one.datastream_id for one in bins]
        first_days = await store.read_first_days(connection, ids)
        known = await store.read_known_months(connection, ids, period, threshold)
    groups = days_above(bins, known, first_days, period, by or ["bin"])
    since, until = period
    whole = {"from": since, "to": until, "threshold": threshold}
    return DaysAbovePage.model_validate(whole | {"items": [_answer(one) for one in groups]})


class EmptyingAnswer(Answer):
    """Un vidage, lu dans les niveaux d'une borne."""

    datastream_id: int
    asset_id: int
    name: str
    commune: str
    at: datetime = Field(description="La mesure qui le montre")
    not_before: datetime = Field(description="La mesure d'avant : vidée entre les deux")
    before: float = Field(description="Remplissage avant, en pour cent")
    after: float = Field(description="Remplissage après, en pour cent")
    suspect: bool = Field(
        description="Aucune mesure ne l'a confirmé, ou le capteur se taisait : on ne sait ni quand, ni ce qu'elle "
        "contenait alors"
    )
    round_id: int | None = Field(description="La tournée qui dit l'avoir vidée ; null : aucune")


class RoundEmptyingAnswer(Answer):
    """Un vidage qu'une tournée a fait et qu'aucun capteur n'a vu."""

    asset_id: int
    name: str
    commune: str
    round_id: int
    at: datetime
    level: float | None = Field(description="Vu sur place, ou attendu, en pour cent ; null : inconnu")
    volume_l: float | None
    weight_kg: float | None


class EmptyingsPage(Page[EmptyingAnswer]):
    """Les vidages, le dernier d'abord."""

    items: list[EmptyingAnswer] = Field(description="Ceux que des capteurs montrent")
    by_round: list[RoundEmptyingAnswer] = Field(
        description="Ceux que seules des tournées connaissent : à plus de douze heures de tout vidage mesuré"
    )


@router.get("/emptyings", summary="Lister les vidages de bornes")
async def list_emptyings(
    caller: Reader,
    wanted: WantedQuery,
    limit: Annotated[int, Query(ge=1, le=MOST_EMPTYINGS, description="Les derniers, au plus")] = 500,
) -> EmptyingsPage:
    """D'au moins 40 points, jusqu'à 25 % au plus, comme pour la fin d'une alerte ; jours écoulés, un an au plus.

    Une seule mesure basse entre deux hautes n'en est pas un. Ce qu'une tournée dit avoir vidé à moins de douze
    heures d'un vidage mesuré est ce vidage-là ; le reste est dans `by_round`.
    """
    async with caller.reading() as connection:
        period = await wanted.period(connection, 1)
        bins = {one.datastream_id: one for one in await wanted.bins(connection)}
        found = await read_known_emptyings(
            connection,
            {id_: one.asset_id for id_, one in bins.items()},
            period,
            None if wanted.datastream_id is None else [one.asset_id for one in bins.values()],
            kind=wanted.kind,
            commune=wanted.commune,
            most=MOST_EMPTYINGS,
        )
    latest = found[::-1]
    said = [one.by_round for one in latest if one.evidence == "round"]
    return EmptyingsPage(
        next=None,
        items=[
            EmptyingAnswer(
                datastream_id=one.by_sensor.datastream_id,
                asset_id=one.asset_id,
                name=bins[one.by_sensor.datastream_id].name,
                commune=bins[one.by_sensor.datastream_id].commune,
                round_id=None if one.by_round is None else one.by_round.round_id,
                **asdict(one.by_sensor.shown),
            )
            for one in latest
            if one.by_sensor is not None
        ][:limit],
        by_round=[RoundEmptyingAnswer.model_validate(one) for one in said[:limit]],
    )


class ForecastAnswer(Answer):
    """Quand une borne sera pleine. Null : personne ne le sait, ou pas avant un an."""

    datastream_id: int
    asset_id: int
    name: str
    commune: str
    level: float | None = Field(description="Le dernier niveau, en pour cent ; null : rien depuis une semaine")
    at: datetime | None = Field(description="Quand il a été lu")
    speed: float | None = Field(
        description="Points par jour, médiane de quatre semaines ; null : moins de la moitié est connue"
    )
    p10: datetime | None = Field(description="Pleine avant, une fois sur dix")
    p50: datetime | None = Field(description="Pleine avant, une fois sur deux")
    p90: datetime | None = Field(description="Pleine avant, neuf fois sur dix")
    basis: Literal["own", "neighbours"] | None = Field(
        description="`own` : huit semaines au moins de la borne même ; `neighbours` : de cinq voisines au plus, "
        "du même type et à moins de deux kilomètres ; null : ni l'un ni l'autre"
    )
    weeks: int = Field(description="Combien de semaines ont été rejouées")


class ForecastsPage(Page[ForecastAnswer]):
    """Une prévision par borne."""


@router.get("/forecasts", summary="Prévoir quand des bornes seront pleines")
async def list_forecasts(
    caller: Reader,
    datastream_id: Annotated[
        list[Annotated[int, Field(ge=1, le=INT4_MOST)]] | None,
        Query(max_length=MOST, description="Flux de remplissage ; répétable ; absent : tous", examples=[[42]]),
    ] = None,
    kind: AssetKind = None,
    commune: Commune = None,
) -> ForecastsPage:
    """Ce que les semaines passées ont ajouté, rejoué depuis le dernier niveau.

    Chaque semaine commence par le même jour. Les voisines se cherchent parmi les 2 000 premières bornes visibles.
    """
    async with caller.reading() as connection:
        found = await read_forecasts(connection, MOST, kind=kind, commune=commune, wanted=datastream_id)
    return ForecastsPage(next=None, items=[_forecast_answer(one) for one in found])


def _forecast_answer(known: BinForecast) -> ForecastAnswer:
    one, now, found = known.bin, known.now, known.forecast
    return ForecastAnswer(
        datastream_id=one.datastream_id,
        asset_id=one.asset_id,
        name=one.name,
        commune=one.commune,
        level=None if now is None else now.level,
        at=None if now is None else now.at,
        speed=known.speed,
        p10=None if found is None else known.instant(found.p10),
        p50=None if found is None else known.instant(found.p50),
        p90=None if found is None else known.instant(found.p90),
        basis=None if found is None else found.basis,
        weeks=0 if found is None else found.weeks,
    )
