"""Device profiles: what all devices of one model have in common."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from fastapi import APIRouter
from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from api.auth import Caller, Change, Manager, Reader
from api.codec_fields import CodecOptions, CommandSpec, MappingRules, check_commands
from api.decodings import OWN, POINTED, POINTED_FOR_ALL, SHARED, decoding_for
from api.fields import Body, Id, IdRef, Name, Patch, ShortText, Word, answer_of, example
from api.pages import Page, Paged
from api.resources import Resource
from core.model.entities import DeviceProfile
from core.model.plausibility import SensorRange, range_of
from core.model.quantities import QUANTITIES, Kind
from core.runtime.http.errors import PROBLEM_RESPONSES, Problem, invalid
from decoders.catalogue import can_switch
from registry.entering import act_as_operator
from registry.profiles import (
    Decoding,
    create_profile,
    list_profiles,
    point_profile,
    read_profile,
    update_profile,
)

LONGEST_INTERVAL_S = 32 * 86_400

router = APIRouter(prefix="/v1/device-profiles", tags=["device-profiles"], responses=PROBLEM_RESPONSES)

Interval = Annotated[float, Field(gt=0, le=LONGEST_INTERVAL_S, examples=[3600])]
MacVersion = Literal["1.0.0", "1.0.1", "1.0.2", "1.0.3", "1.0.4"]
Capability = Literal["switch", "dim", "program"]
Eirp = Annotated[int, Field(ge=0, le=36)]
Commands = Annotated[list[CommandSpec], Field(max_length=64)]
Moduli = Annotated[
    dict[Word, Annotated[float, Field(gt=0, allow_inf_nan=False)]],
    Field(max_length=64, examples=[{"water_volume": 1_000_000}]),
]
Seconds = Annotated[float, BeforeValidator(timedelta.total_seconds)]
RxDelay = Annotated[int, Field(ge=1, le=15)]
DataRate = Annotated[int, Field(ge=0, le=5)]
TxPower = Annotated[int, Field(ge=0, le=7)]
RADIO = {
    "rx1_delay",
    "rx2_data_rate",
    "adr",
    "adr_min_data_rate",
    "adr_max_data_rate",
    "adr_min_tx_power",
    "adr_max_tx_power",
}
NOT_WRITTEN = RADIO | {"codec", "codec_version_id", "mapping", "shared", "expected_interval_s"}


class SensorRangeField(Body):
    """Ce que le capteur mesure d'une grandeur, bornes incluses ; une borne absente est celle de la grandeur.

    Une valeur au-delà est marquée suspecte : seules les règles qui jugent les valeurs improbables la regardent.
    """

    model_config = example({"quantity": "temperature", "minimum": -50, "maximum": 400, "error_codes": [850]})

    quantity: Word = Field(description="Grandeur (GET /v1/quantities)", examples=["temperature"])
    channel: ShortText | None = Field(None, description="Voie concernée ; null : toutes")
    minimum: float | None = Field(None, examples=[-50])
    maximum: float | None = Field(None, examples=[400])
    error_codes: list[float] = Field(
        default_factory=list[float],
        max_length=16,
        description="Valeurs que le décodeur donne quand il n'y a pas de mesure : aucune règle ne les juge",
        examples=[[850]],
    )

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        quantity = QUANTITIES.get(self.quantity)
        if quantity is None:
            raise PydanticCustomError("quantity", "grandeur inconnue : choisissez dans GET /v1/quantities")
        of = range_of(quantity, "", [SensorRange(self.quantity, None, self.minimum, self.maximum)])
        if of.minimum is not None and of.maximum is not None and of.minimum > of.maximum:
            raise PydanticCustomError("range", "le minimum dépasse le maximum")
        return self


SensorRanges = Annotated[
    list[SensorRangeField],
    Field(max_length=64, description="Plages de mesure du capteur, où ce ne sont pas celles des grandeurs"),
]


class NewDeviceProfile(Body):
    """Un modèle de capteur ; un décodeur natif (`codec`) ou publié (`codec_version_id`) lit ses messages."""

    model_config = example(
        {
            "name": "Borne à verre EM400",
            "vendor": "Milesight",
            "model": "EM400-UDL",
            "codec": "milesight.em400",
            "expected_interval_s": 3600,
        }
    )

    name: Name = Field(description="Nom du profil", examples=["Borne à verre EM400"])
    vendor: Name = Field(description="Fabricant", examples=["Milesight"])
    model: Name = Field(description="Modèle du fabricant", examples=["EM400-UDL"])
    codec: Word | None = Field(
        None, description="Décodeur natif des messages de ce modèle", examples=["milesight.em400"]
    )
    codec_version_id: IdRef | None = Field(
        None, description="Ou la version publiée d'un décodeur (/v1/codecs)", examples=[42]
    )
    mapping: MappingRules = Field(
        default_factory=list[dict[str, Any]],
        description="Ce que veulent dire les champs d'un décodeur de fabricant : chemin, grandeur, canal, unité",
    )
    codec_options: CodecOptions = Field(
        default_factory=dict,
        description="Réglages propres au décodeur ; une clé se pose par /decoding-key, jamais ici",
    )
    device_class: Literal["A", "C"] = Field(
        "A", description="Classe LoRaWAN : A (sur pile), C (toujours à l'écoute)"
    )
    mac_version: MacVersion = Field("1.0.3", description="Version de LoRaWAN du capteur")
    regional_revision: ShortText = Field(
        "", description="Révision des paramètres régionaux", examples=["RP002-1.0.3"]
    )
    supports_join: bool = Field(True, description="Le capteur sait rejoindre le réseau par OTAA")
    max_eirp: Eirp | None = Field(None, description="Puissance rayonnée maximale du capteur, en dBm")
    rx1_delay: RxDelay | None = Field(
        None,
        description="Secondes d'un message à sa réponse (RX1), davantage si la passerelle est loin ; null : comme "
        "le serveur de réseau",
    )
    rx2_data_rate: DataRate | None = Field(
        None,
        description="Débit de la seconde réponse (RX2), auquel un capteur de classe C écoute (0 : SF12) ; null : "
        "comme le serveur de réseau",
    )
    adr: bool | None = Field(
        None, description="Débit et puissance choisis par le réseau (ADR) ; null : comme le serveur de réseau"
    )
    adr_min_data_rate: DataRate | None = Field(None, description="Débit le plus bas que l'ADR demande (0 : SF12)")
    adr_max_data_rate: DataRate | None = Field(None, description="Débit le plus haut que l'ADR demande (5 : SF7)")
    adr_min_tx_power: TxPower | None = Field(
        None, description="Indice de puissance le plus bas que l'ADR demande (0 : pleine puissance)"
    )
    adr_max_tx_power: TxPower | None = Field(
        None, description="Indice de puissance le plus haut que l'ADR demande (7 : 14 dB de moins)"
    )
    firmware_from: ShortText = Field("", description="Première version de micrologiciel concernée, incluse")
    firmware_until: ShortText = Field("", description="Dernière version de micrologiciel concernée, incluse")
    expected_interval_s: Interval = Field(3600, description="Intervalle attendu entre deux messages, en secondes")
    capabilities: list[Capability] = Field(
        default_factory=list[Capability],
        max_length=8,
        description="Ce que l'appareil sait faire : `switch` (commuter), `dim` (graduer), "
        "`program` (garder un programme d'éclairage)",
    )
    commands: Commands = Field(
        default_factory=list[CommandSpec], description="Les commandes du modèle et leurs paramètres"
    )
    moduli: Moduli = Field(
        default_factory=dict[str, float],
        description="Par grandeur, dans son unité : où l'index du compteur revient à zéro",
    )
    sensor_ranges: SensorRanges = Field(default_factory=list[SensorRangeField])
    shared: bool = Field(False, description="Proposé à toutes les collectivités : rôle `operate`")


class DeviceProfilePatch(Patch):
    """Ce qui change ; un champ absent reste tel quel, null le vide."""

    model_config = example({"expected_interval_s": 1800})
    EMPTIED: ClassVar[Mapping[str, Any]] = {
        "regional_revision": "",
        "max_eirp": None,
        "rx1_delay": None,
        "rx2_data_rate": None,
        "adr": None,
        "adr_min_data_rate": None,
        "adr_max_data_rate": None,
        "adr_min_tx_power": None,
        "adr_max_tx_power": None,
        "firmware_from": "",
        "firmware_until": "",
        "codec_options": {},
        "capabilities": [],
        "commands": [],
        "moduli": {},
        "sensor_ranges": [],
    }

    name: Name | None = None
    vendor: Name | None = None
    model: Name | None = None
    codec: Word | None = Field(None, description="Décodeur natif ; un décodeur publié se choisit par /decoding")
    codec_options: CodecOptions | None = None
    device_class: Literal["A", "C"] | None = None
    mac_version: MacVersion | None = None
    regional_revision: ShortText | None = None
    supports_join: bool | None = None
    max_eirp: Eirp | None = None
    rx1_delay: RxDelay | None = None
    rx2_data_rate: DataRate | None = None
    adr: bool | None = None
    adr_min_data_rate: DataRate | None = None
    adr_max_data_rate: DataRate | None = None
    adr_min_tx_power: TxPower | None = None
    adr_max_tx_power: TxPower | None = None
    firmware_from: ShortText | None = None
    firmware_until: ShortText | None = None
    expected_interval_s: Interval | None = None
    capabilities: list[Capability] | None = Field(None, max_length=8)
    commands: Commands | None = None
    moduli: Moduli | None = None
    sensor_ranges: SensorRanges | None = None


class DeviceProfileAnswer(answer_of(DeviceProfile, {"expected_interval"})):
    """Un modèle de capteur ; `tenant_id` null : proposé à toutes les collectivités."""

    codec: str = Field(description="Nom du décodeur, natif ou publié")
    codec_version_id: int | None = Field(description="La version publiée qui lit les messages ; absente : natif")
    shadow_version_id: int | None = Field(description="La version à l'essai, à côté de l'autre")
    expected_interval_s: Seconds = Field(validation_alias="expected_interval")
    commands: list[CommandSpec]
    sensor_ranges: list[SensorRangeField]


PROFILES = Resource("device_profile", "profil", read_profile, DeviceProfileAnswer.model_validate)


def _written(given: dict[str, Any]) -> dict[str, Any]:
    """The columns of a body, but for what reads the frames."""
    written = {name: value for name, value in given.items() if name not in NOT_WRITTEN}
    if "expected_interval_s" in given:
        written["expected_interval"] = timedelta(seconds=given["expected_interval_s"])
    return written


def _radio(given: dict[str, Any], former: DeviceProfile | None = None) -> dict[str, Any]:
    """How the devices' radio is to be run, where the body says it; raises 422 for bounds that leave nothing."""
    said = {name: value for name, value in given.items() if name in RADIO}
    for least, most in (("adr_min_data_rate", "adr_max_data_rate"), ("adr_min_tx_power", "adr_max_tx_power")):
        low, high = (said.get(name, getattr(former, name, None)) for name in (least, most))
        if low is not None and high is not None and low > high:
            raise Problem(422, f"{least} ({low}) dépasse {most} ({high})")
    return said


def _check_moduli(moduli: Mapping[str, float] | None) -> None:
    """422 for a quantity that does not count up."""
    for name in moduli or ():
        known = QUANTITIES.get(name)
        if known is None or known.kind is not Kind.COUNTER:
            raise invalid("moduli", "quantity", f"« {name} » n'est pas un index de /v1/quantities")


def _loses_its_switch(profile: DeviceProfile, given: dict[str, Any]) -> bool:
    codec = given.get("codec", profile.codec)
    capabilities = given.get("capabilities", profile.capabilities)
    changes = codec != profile.codec or set(profile.capabilities) - set(capabilities)
    return bool(changes) and can_switch(profile.codec, profile.capabilities)


@router.post("", status_code=201, summary="Créer un profil d'appareil")
async def create_device_profile(body: NewDeviceProfile, caller: Manager) -> DeviceProfileAnswer:
    """Créer un profil. Un décodeur inconnu est refusé, avec la liste des décodeurs connus."""
    check_commands(body.commands, body.capabilities)
    _check_moduli(body.moduli)
    if body.shared:
        caller.demand("operate")
    async with caller.changing() as change:
        if body.shared:
            await act_as_operator(change.connection)
        decoding = await decoding_for(change, body.codec, body.codec_version_id, body.mapping, body.capabilities)
        owner = None if body.shared else change.tenant_id
        given = body.model_dump(mode="json")
        profile = await create_profile(change.connection, owner, decoding, _written(given), _radio(given))
        shown = PROFILES.show(profile)
        await change.audit("create", "device_profile", profile.id, after=shown)
    return shown


@router.get("", summary="Lister les profils d'appareil")
async def list_device_profiles(caller: Reader, paging: Paged) -> Page[DeviceProfileAnswer]:
    """Les profils de la collectivité, et ceux qui sont proposés à toutes."""
    return await PROFILES.page(caller, paging, list_profiles, after=paging.after, most=paging.most)


@router.get("/{id}", summary="Lire un profil d'appareil")
async def read_device_profile(id: Id, caller: Reader) -> DeviceProfileAnswer:
    """Un profil."""
    return await PROFILES.read(caller, id)


async def own_profile(caller: Caller, change: Change, profile_id: int) -> DeviceProfile:
    """The profile of this path, which the caller may change: its own, or as the operator one that all have.

    Raises 404, or 403 when it is visible only.
    """
    profile = await PROFILES.get(change.connection, profile_id)
    if profile.tenant_id is None and caller.has("operate"):
        await act_as_operator(change.connection)
    elif profile.tenant_id is None:
        raise Problem(403, "ce profil est proposé à toutes les collectivités : il ne se modifie pas ici")
    return profile


@router.patch("/{id}", summary="Modifier un profil d'appareil")
async def update_device_profile(id: Id, body: DeviceProfilePatch, caller: Manager) -> DeviceProfileAnswer:
    """Modifier un profil ; la modification est active partout en 5 secondes."""
    _check_moduli(body.moduli)
    given = body.changed(mode="json")
    async with caller.changing() as change:
        former = await own_profile(caller, change, id)
        if _loses_its_switch(former, given):
            caller.demand("lighting")  # Otherwise cabinets could be commanded as if they were sensors.
        check_commands(
            PROFILES.show(former).commands if "commands" not in given else body.commands or [],
            given.get("capabilities", former.capabilities),
        )
        if body.codec is not None:
            decoding = await decoding_for(change, body.codec, None, [], former.capabilities)
            await point_profile(change.connection, id, decoding)
            before, action = (SHARED, POINTED_FOR_ALL) if former.tenant_id is None else (OWN, POINTED)
            was, now = Decoding.of(former).noted(), decoding.noted()
            details = {"source": before, "former": was, "now": now}
            await change.audit(action, "device_profile", id, details, before=was, after=now)
        profile = await update_profile(change.connection, id, _written(given), _radio(given, former))
        if profile is None:
            raise Problem(403, "à une autre collectivité, en lecture seule")
        shown = PROFILES.show(profile)
        await change.audit("update", "device_profile", id, before=PROFILES.show(former), after=shown)
    return shown
