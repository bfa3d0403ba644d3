"""Alert rules: made, adjusted, and tried on what was measured."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter, Response
from pydantic import Field, StringConstraints

from alerting import rule_store
from alerting.backtest import Backtest, BacktestDay, BacktestNotification, NotToTry, try_rule
from alerting.rules.checks import InvalidRule, check_rule
from alerting.rules.model import MESSAGE_FIELDS, Kind, Rule, Rung, Schedule, Series, Severity
from api.auth import Manager, Reader
from api.fields import Body, Id, IdQuery, IdRef, Patch, Remark, Word, answer_of, example
from api.pages import Page
from api.resources import Resource
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem
from core.runtime.postgres import Connection

router = APIRouter(prefix="/v1", tags=["alert-rules"], responses=PROBLEM_RESPONSES)

Comparison = Literal[">=", ">", "<=", "<"]
RuleName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9_]*$"),
    Field(examples=["bin_75"]),
]
Seconds = Annotated[int, Field(ge=0, le=604_800)]
KIND_TEXT = (
    "`threshold` seuil, `range` hors plage, `rate` variation par heure, `boolean` état, `flat` valeur figée, "
    "`silence` capteur muet, `gateway` passerelle muette, `loss` messages perdus. Les règles de ce que d'autres "
    "déclarent se font d'elles-mêmes : `gateway_address` passerelle qui change d'adresse, `codec` décodeur "
    "suspendu, `clock` horloge fausse d'une source ou d'un capteur, `partner` alarme d'un système partenaire"
)
SCHEDULE_TEXT = (
    "Quand la règle veille : `always` toujours, `open` aux heures d'ouverture, `closed` en dehors, "
    "`night` de 22 h à 6 h, `lit` quand l'éclairage doit être allumé, `unlit` quand il doit être éteint"
)
FIELDS_TEXT = "Texte envoyé. Champs : " + ", ".join(f"{{{name}}}" for name in MESSAGE_FIELDS)
# What a rule may be without; null takes it away.
NULLABLE = frozenset(
    {
        "quantity", "asset_kinds", "series", "fire_op", "fire_value", "fire_upper", "clear_op", "clear_value",
        "clear_upper", "of_readings", "calendar_id", "team_id",
    }
)  # fmt: skip
EXAMPLE: dict[str, Any] = {
    "name": "verre_80",
    "kind": "threshold",
    "quantity": "fill_level",
    "asset_kinds": ["glass_container"],
    "fire_op": ">=",
    "fire_value": 80,
    "clear_op": "<=",
    "clear_value": 50,
    "for_readings": 2,
    "severity": "warning",
    "message": "{asset} ({place}) : rempli à {value} depuis {since}, à collecter.",
    "ladder": [{"severity": "major", "within_hours": 24}],
}


class RungField(Body):
    """Un degré plus grave, atteint par une valeur, une prévision ou un multiple de la médiane des nuits."""

    model_config = example({"severity": "major", "op": ">=", "value": 90})

    severity: Severity
    op: Comparison = ">="
    value: float | None = Field(None, description="Atteint quand la valeur se compare ainsi", examples=[90])
    within_hours: float | None = Field(
        None, gt=0, le=720, description="Atteint quand, à ce rythme, `limit` le sera d'ici là", examples=[24]
    )
    limit: float = 100.0
    times_median: float | None = Field(None, gt=1, le=1000, description="Multiple de la médiane des nuits")
    at_once: bool = Field(False, description="Sans attendre la durée de la règle")


class RungAnswer(answer_of(Rung)):
    """Un degré plus grave."""


class RuleFields(Body):
    """Ce qu'une règle peut dire ; ce qui est absent a sa valeur habituelle, ou reste tel quel."""

    quantity: Word | None = Field(
        None,
        description="Grandeur suivie (GET /v1/quantities) ; d'une règle `silence`, celle qu'on attend, null : "
        "n'importe laquelle ; absente de `gateway` et de `loss`",
        examples=["fill_level"],
    )
    asset_kinds: Annotated[list[Word], Field(min_length=1, max_length=20)] | None = Field(
        None, description="Types d'actif ; null : tous"
    )
    tags: list[Word] | None = Field(
        None, max_length=20, description="Une de ces étiquettes suffit ; vide : toutes"
    )
    series: Series | None = Field(
        None, description="Série calculée à comparer, au lieu des valeurs mesurées (docs/alertes.md)"
    )
    scope: Literal["datastream", "asset"] | None = Field(None, description="Une alerte par flux, ou par actif")
    fire_op: Comparison | None = Field(None, description="Comment la valeur se compare au seuil", examples=[">="])
    fire_value: float | None = Field(
        None,
        description="Seuil de déclenchement ; d'une plage, son bas ; d'un état, 0 ou 1 ; d'une valeur figée, "
        "l'écart en deçà duquel elle l'est",
        examples=[80],
    )
    fire_upper: float | None = Field(None, description="Seuil haut d'une plage")
    clear_op: Comparison | None = Field(None, description="Comparaison de la fin, l'autre sens", examples=["<="])
    clear_value: float | None = Field(None, description="Seuil de retour à la normale", examples=[60])
    clear_upper: float | None = Field(None, description="D'une plage, le haut du retour à la normale")
    for_readings: int | None = Field(None, ge=1, le=60, description="Mesures au-delà du seuil avant l'alerte")
    of_readings: int | None = Field(None, ge=1, le=60, description="Sur autant de mesures ; null : de suite")
    for_seconds: Seconds | None = Field(None, description="Secondes au-delà du seuil avant l'alerte")
    keep_firing_seconds: Seconds | None = Field(None, description="Secondes de retour à la normale avant la fin")
    clear_on_emptying: bool | None = Field(None, description="Un conteneur vidé met fin à l'alerte")
    silence_intervals: float | None = Field(
        None, ge=1, le=100, description="Intervalles attendus sans message avant de dire le capteur muet"
    )
    ladder: list[RungField] | None = Field(None, max_length=5, description="Degrés plus graves, dans l'ordre")
    schedule: Schedule | None = Field(None, description=SCHEDULE_TEXT)
    calendar_id: IdRef | None = Field(
        None, description="Heures d'ouverture, si l'actif n'en nomme pas (GET /v1/alert-calendars)"
    )
    team_id: IdRef | None = Field(None, description="Équipe prévenue ; null : toutes les adresses")
    inhibits: bool | None = Field(
        None, description="Tant qu'elle dure, ce qui dépend de l'actif n'alerte personne"
    )
    cadence: Literal["now", "weekly"] | None = Field(None, description="Prévenir aussitôt, ou chaque semaine")
    reopen_after_seconds: int | None = Field(
        None,
        ge=300,
        le=2_592_000,
        description="Terminée par quelqu'un alors qu'elle dure : rouverte après",
    )
    judges_improbable: bool | None = Field(
        None,
        description="Juger aussi une valeur improbable, hors de la plage du capteur mais physiquement possible, "
        "ou d'un instant douteux : elle peut ouvrir une alerte, jamais y mettre fin",
    )
    opens_work_order: bool | None = Field(
        None, description="Ouvrir une intervention (`/v1/work-orders`) pour chaque alerte dont on est prévenu"
    )
    enabled: bool | None = Field(None, description="false : la règle ne déclenche plus")

    def given(self) -> dict[str, Any]:
        """Column to value, of what was given; null only where a rule may have none."""
        given = self.model_dump(exclude_unset=True)
        return {name: value for name, value in given.items() if value is not None or name in NULLABLE}


class RulePatch(RuleFields, Patch):
    """Ce qui change ; un champ absent reste tel quel."""

    model_config = example({"severity": "major", "fire_value": 80, "clear_value": 60})
    EMPTIED: ClassVar[Mapping[str, Any]] = dict.fromkeys(NULLABLE)

    name: RuleName | None = None
    kind: Kind | None = Field(None, description=KIND_TEXT)
    severity: Severity | None = Field(None, description="Gravité, d'`info` à `critical`")
    message: Remark | None = Field(None, description=FIELDS_TEXT)


class NewRule(RuleFields):
    """Une règle d'alerte ; ce qui n'est pas dit a sa valeur habituelle."""

    model_config = example(EXAMPLE)

    name: RuleName
    kind: Kind = Field(description=KIND_TEXT)
    severity: Severity = Field(description="Gravité, d'`info` à `critical`")
    message: Remark = Field(description=FIELDS_TEXT)

    def rule(self, tenant_id: int, rule_id: int = 0) -> Rule:
        """It as a tenant's rule."""
        given = self.given()
        ladder = tuple(Rung(**rung) for rung in given.pop("ladder", ()))
        listed = {name: tuple(given[name]) for name in ("asset_kinds", "tags") if given.get(name) is not None}
        whole: dict[str, Any] = {"quantity": None, "ladder": ladder} | given | listed
        return Rule(id=rule_id, tenant_id=tenant_id, **whole)


class RuleAnswer(answer_of(Rule)):
    """Une règle d'alerte."""

    id: int
    tenant_id: int = Field(description="La collectivité à qui elle est")
    name: str = Field(examples=["bin_75"])
    kind: str = Field(examples=["threshold"], description=KIND_TEXT)
    quantity: str | None = Field(examples=["fill_level"])
    ladder: list[RungAnswer]


RULES = Resource("alert_rule", "règle", rule_store.read_rule, RuleAnswer.model_validate)


class TriedNoticeAnswer(answer_of(BacktestNotification)):
    """Un message qui aurait été envoyé."""

    event: str = Field(examples=["alert.opened"])


class TriedDayAnswer(answer_of(BacktestDay)):
    """Un jour de l'essai."""

    opened: int = Field(description="Alertes qui se seraient ouvertes")
    sent: int = Field(description="Messages qui seraient partis")


class RuleTrialAnswer(answer_of(Backtest, {"read"})):
    """Ce que la règle aurait envoyé sur les trente derniers jours."""

    summary: str = Field(description="L'essai en une phrase")
    measurements: int = Field(description="Mesures rejouées ; d'une règle de pertes, trames")
    sent: int = Field(description="Messages en tout ; `notices` en montre les 500 premiers")
    notices: list[TriedNoticeAnswer]
    days: list[TriedDayAnswer] = Field(
        description="Chaque jour, du premier au dernier, à l'heure de la collectivité"
    )
    outages_known_since: datetime | None = Field(
        description="Avant, nul ne sait quelles pannes il y a eu : inconnu"
    )


@router.get("/alert-rules", operation_id="listAlertRules", summary="Lister les règles d'alerte")
async def list_rules(caller: Reader) -> Page[RuleAnswer]:
    """Les règles de la collectivité et de ses membres."""
    return await RULES.list(caller, rule_store.list_rules)


@router.post("/alert-rules", operation_id="createAlertRule", status_code=201, summary="Créer une règle d'alerte")
async def create_rule(body: NewRule, caller: Manager) -> RuleAnswer:
    """Créer une règle, active partout en 5 secondes ; `enabled: false` pour l'essayer d'abord."""
    try:
        return await RULES.create(
            caller,
            lambda change: rule_store.create_rule(change.connection, body.rule(change.tenant_id)),
        )
    except InvalidRule as refused:
        raise Problem(422, str(refused)) from None


@router.post("/alert-rules/trial", operation_id="tryNewAlertRule", summary="Essayer une règle d'alerte")
async def try_new_rule(body: NewRule, caller: Manager, asset_id: IdQuery = None) -> RuleTrialAnswer:
    """Ce qu'une règle aurait envoyé sur les trente derniers jours ; rien n'est créé ni envoyé."""
    async with caller.changing() as change:
        return await _tried(change.connection, body.rule(change.tenant_id), asset_id)


@router.get("/alert-rules/{id}", operation_id="getAlertRule", summary="Lire une règle d'alerte")
async def read_rule(id: Id, caller: Reader) -> RuleAnswer:
    """Une règle."""
    return await RULES.read(caller, id)


@router.get("/alert-rules/{id}/trial", operation_id="tryAlertRule", summary="Essayer une règle d'alerte existante")
async def try_stored_rule(id: Id, caller: Reader, asset_id: IdQuery = None) -> RuleTrialAnswer:
    """Ce que cette règle, active ou non, aurait envoyé sur les trente derniers jours."""
    async with caller.reading() as connection:
        return await _tried(connection, await RULES.get(connection, id), asset_id)


async def _tried(connection: Connection, rule: Rule, asset_id: int | None) -> RuleTrialAnswer:
    try:
        trial = await try_rule(connection, check_rule(rule), datetime.now(UTC), asset_id)
    except (InvalidRule, NotToTry) as refused:
        raise Problem(422, str(refused)) from None
    return RuleTrialAnswer.model_validate(trial)


@router.patch("/alert-rules/{id}", operation_id="updateAlertRule", summary="Modifier une règle d'alerte")
async def update_rule(id: Id, body: RulePatch, caller: Manager) -> RuleAnswer:
    """Modifier une règle ; la modification est active partout en 5 secondes."""
    given = body.changed()
    try:
        return await RULES.change(caller, id, partial(rule_store.update_rule, change=given))
    except InvalidRule as refused:
        raise Problem(422, str(refused)) from None


@router.delete(
    "/alert-rules/{id}", operation_id="deleteAlertRule", status_code=204, summary="Supprimer une règle d'alerte"
)
async def delete_rule(id: Id, caller: Manager) -> Response:
    """Supprimer une règle avec ses alertes et leur historique ; `enabled: false` la suspend sans rien perdre."""
    return await RULES.delete(caller, id, rule_store.delete_rule)
