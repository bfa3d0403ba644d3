"""What rounds are asked by and answered with: bodies and answers of their routes."""

from datetime import datetime, time
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from api.fields import (
    INT4_MOST,
    PRINTABLE,
    Answer,
    Body,
    Day,
    IdRef,
    Instant,
    Label,
    Latitude,
    Longitude,
    Remark,
    Text,
    answer_of,
    example,
)
from indicators.waste.rounds.model import Outcome, Part, SkipReason
from indicators.waste.rounds.planner import BINS_MOST
from indicators.waste.rounds.store import RoundStop, WasteRound

OUTCOME_TEXT = "`emptied` vidée, `skipped` non vidée"
REASON_TEXT = (
    "Pourquoi elle n'est pas vidée : `inaccessible`, `not_full` pas assez pleine, `damaged` abîmée, "
    "`wrong_content` contenu non conforme, `truck_full` camion plein, `out_of_time` pas le temps, `other` autre"
)
CHOSEN_TEXT = (
    "`threshold` au seuil ou au-dessus, `forecast` prévue au-dessus du seuil de prévision avant la tournée "
    "suivante, `forced` ajoutée, `unknown` niveau inconnu"
)
LEFT_TEXT = (
    "Pourquoi elle n'est dans aucun trajet : `unknown_level` capteur muet, `never_measured` jamais mesurée, "
    "`no_position` sans position, `no_volume` sans volume, `too_large` plus qu'un camion vide, `no_room` pas le "
    "temps ; null : elle est dans un trajet"
)
PART_TEXT = "Prévision dépassée une fois sur dix (`p10`), sur deux (`p50`), neuf fois sur dix (`p90`)"


def _of_no_zone(at: time) -> time:
    if at.tzinfo is not None:
        raise PydanticCustomError("time", "heure locale attendue, sans fuseau : HH:MM")
    return at


Hour = Annotated[time, AfterValidator(_of_no_zone)]
AssetIds = Annotated[list[IdRef], Field(max_length=BINS_MOST)]
Row = Annotated[list[Annotated[float, Field(ge=0)]], Field(max_length=BINS_MOST + 2)]
Table = Annotated[list[Row], Field(max_length=BINS_MOST + 2)]


class PlaceBody(Body):
    """Un lieu, WGS 84."""

    model_config = example({"latitude": 48.39, "longitude": -4.49})

    latitude: Latitude
    longitude: Longitude


class DistancesBody(Body):
    """Une table de distances à vous : d'abord le dépôt, puis l'exutoire, puis les bornes de `asset_ids`."""

    model_config = example({"asset_ids": [42], "metres": [[0, 900, 1200], [900, 0, 700], [1200, 700, 0]]})

    asset_ids: AssetIds = Field(description="Toutes les bornes du choix, dans l'ordre des lignes", min_length=1)
    metres: Table = Field(description="De chaque lieu (ligne) à chaque lieu (colonne)")
    seconds: Table | None = Field(None, description="Temps de parcours ; absent : à `speed_kmh`")


class NewRoundBody(Body):
    """Une tournée à planifier : quelles bornes, quels camions, d'où, jusqu'où, entre quelles heures."""

    model_config = example(
        {
            "planned_for": "2026-12-01",
            "kind": "glass_container",
            "truck_volume_l": 25000,
            "truck_weight_kg": 11000,
            "depot": {"latitude": 48.39, "longitude": -4.49},
            "outlet": {"latitude": 48.42, "longitude": -4.45},
        }
    )

    name: Label = ""
    planned_for: Day = Field(description="Le jour de la tournée")
    next_round_on: Day | None = Field(
        None, description="Le jour de la tournée suivante ; absent : sept jours après"
    )
    kind: Annotated[str, Field(min_length=1, max_length=63, pattern=PRINTABLE)] = Field(
        "glass_container", description="Type d'actif des bornes"
    )
    commune: Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)] | None = Field(
        None, description="Commune, par son nom ou son code INSEE ; absente : toutes"
    )
    threshold: int = Field(75, ge=1, le=100, description="À partir de ce niveau, en pour cent, elle est vidée")
    forecast_threshold: int = Field(
        90, ge=1, le=100, description="Prévue à ce niveau avant la tournée suivante, elle est vidée"
    )
    forecast_part: Part = Field("p50", description=PART_TEXT)
    include_asset_ids: AssetIds = Field(
        default_factory=list[int], description="À vider quoi qu'il en soit, en premier ; inconnue, comptée pleine"
    )
    exclude_asset_ids: AssetIds = Field(default_factory=list[int], description="À laisser")
    trucks: int = Field(1, ge=1, le=20, description="Combien de camions pareils")
    truck_volume_l: int = Field(ge=1, le=200_000, description="Ce qu'un camion prend, en litres")
    truck_weight_kg: int = Field(ge=1, le=60_000, description="Ce qu'un camion prend, en kilogrammes")
    opens_at: Hour = Field(time(6), description="Départ du dépôt au plus tôt, heure locale", examples=["06:00"])
    closes_at: Hour = Field(time(14), description="Retour au dépôt au plus tard", examples=["14:00"])
    service_s: int = Field(300, ge=0, le=7_200, description="Secondes à une borne")
    unloading_s: int = Field(1_200, ge=0, le=14_400, description="Secondes à l'exutoire, à chaque déchargement")
    speed_kmh: float = Field(30, ge=1, le=130, description="Vitesse moyenne, là où seule la distance est connue")
    depot: PlaceBody = Field(description="D'où partent les camions, et où ils rentrent")
    outlet: PlaceBody = Field(description="Où ils déchargent, et peuvent repartir")
    default_volume_l: float | None = Field(
        None, gt=0, le=100_000, description="Volume d'une borne qui n'a pas l'attribut `volume_l`"
    )
    density_kg_m3: float | None = Field(
        None,
        gt=0,
        le=5_000,
        description="Masse volumique, là où une borne n'a pas cet attribut ; absente : 330 pour le verre",
    )
    distances: DistancesBody | None = Field(
        None, description="Absente : OSRM si l'exploitant en a réglé un, sinon à vol d'oiseau fois 1,3"
    )
    seed: int = Field(1, ge=0, le=INT4_MOST, description="La même graine fait la même tournée des mêmes bornes")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.next_round_on is not None and self.next_round_on <= self.planned_for:
            raise PydanticCustomError("next_round_on", "la tournée suivante vient après celle-ci")
        if self.closes_at <= self.opens_at:
            raise PydanticCustomError("closes_at", "« closes_at » vient après « opens_at », le même jour")
        if set(self.include_asset_ids) & set(self.exclude_asset_ids):
            raise PydanticCustomError("exclude_asset_ids", "une borne est à la fois ajoutée et laissée")
        return self


class TripAnswer(Answer):
    """Un trajet : jusqu'au déchargement, et le dernier d'un camion jusqu'au dépôt."""

    truck: int
    trip: int
    leaves_at: datetime
    outlet_at: datetime = Field(description="Arrivée à l'exutoire")
    ends_at: datetime = Field(description="Déchargé, et pour le dernier de retour au dépôt")
    metres: int
    volume_l: float
    weight_kg: float


class RoundAnswer(answer_of(WasteRound)):
    """Une tournée comme elle a été planifiée, et où elle en est."""

    state: str = Field(description="`planned` planifiée, `cancelled` annulée", examples=["planned"])
    forecast_part: str = Field(description=PART_TEXT, examples=["p50"])
    distance_source: str = Field(
        description="`matrix` votre table, `osrm` par la route, `great_circle` à vol d'oiseau fois 1,3",
        examples=["great_circle"],
    )
    distance_note: str = Field(description="Pourquoi ce n'est pas la source voulue ; vide : ce l'est")
    metres_before: int | None = Field(
        description="La même tournée par toutes les bornes du choix, sans horaires ; null : non calculée"
    )
    bins_before: int = Field(description="Combien de bornes elle vide")
    metres_after: int = Field(description="Les trajets de celle-ci, en mètres")
    trips: list[TripAnswer]
    stops: int = Field(description="Bornes dans un trajet")
    left_out: int = Field(description="Bornes dans aucun trajet, dont le niveau inconnu")
    emptied: int
    skipped: int
    method: str = Field(description="Comment les kilomètres sont comptés, et à quoi ils sont comparés")


class RoundStopAnswer(answer_of(RoundStop)):
    """Une borne d'une tournée."""

    chosen_by: str = Field(description=CHOSEN_TEXT, examples=["threshold"])
    truck: int | None = Field(description="Null : dans aucun trajet")
    trip: int | None = Field(description="Null : dans aucun trajet")
    position: int | None = Field(description="Ordre parmi les bornes de son camion")
    arrival: datetime | None = Field(description="Arrivée prévue")
    left_reason: str | None = Field(description=LEFT_TEXT)
    level: float | None = Field(
        description="Niveau, en pour cent, quand la tournée a été planifiée ; null : inconnu"
    )
    full_at: datetime | None = Field(description="Quand elle est prévue au seuil de prévision")
    volume_l: float | None = Field(description="Ce qu'elle devrait contenir, en litres")
    weight_kg: float | None = Field(description="Ce qu'elle devrait contenir, en kilogrammes")
    outcome: str | None = Field(description=f"{OUTCOME_TEXT} ; null : rien n'a été dit")
    reason: str | None = Field(description=REASON_TEXT)
    done_at: datetime | None = Field(description="Quand, d'après qui l'a dit")
    level_seen: float | None = Field(description="Le niveau vu sur place, en pour cent")


class WholeRoundAnswer(RoundAnswer):
    """Une tournée avec ses bornes : dans l'ordre de chaque camion, puis celles d'aucun trajet."""

    bins: list[RoundStopAnswer]


class StopOutcomeBody(Body):
    """Ce qu'il est advenu d'une borne ; dit de nouveau, c'est corrigé."""

    model_config = example({"outcome": "emptied", "level_seen": 85})

    outcome: Outcome = Field(description=OUTCOME_TEXT)
    reason: SkipReason | None = Field(None, description=REASON_TEXT)
    at: Instant | None = Field(None, description="Quand ; absent : maintenant")
    level_seen: float | None = Field(None, ge=0, le=100, description="Le niveau vu sur place, en pour cent")
    remark: Text = Field("", description="Demandée avec le motif `other`")

    @model_validator(mode="after")
    def _has_its_reason(self) -> Self:
        if (self.outcome == "skipped") != (self.reason is not None):
            raise PydanticCustomError(
                "reason", "« reason » dit pourquoi une borne n'est pas vidée, et alors seulement"
            )
        if self.reason == "other" and not self.remark:
            raise PydanticCustomError("remark", "le motif « other » demande une remarque")
        return self


class RoundCancellationBody(Body):
    """Pourquoi une tournée n'a pas lieu."""

    model_config = example({"reason": "Camion en panne"})

    reason: Remark
