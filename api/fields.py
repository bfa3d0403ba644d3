"""The types of fields that several routes share, with their limits and examples."""

import re
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, time
from typing import Annotated, Any, ClassVar, Literal, Self, cast, get_type_hints

import msgspec
from fastapi import Path, Query
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema

from core.model.lighting_programs import MOST_POWER_W
from decoders.containers import InvalidGeometry, geometry_of
from lorawan.identifiers import DEV_ADDR_LENGTH, EUI_LENGTH, parse_eui

INT4_MOST = 2**31 - 1
INT8_MOST = 2**63 - 1
ATTRIBUTES_OCTETS_MOST = 32_768
AES_KEY_OCTETS = 16
NUMBER = re.compile(r"\s*[-+]?[0-9.]+\s*")
# Of a node of a core schema: what may look like a schema and is none, and keys, which are text in JSON.
NO_SCHEMAS = frozenset({"metadata", "default", "expected", "config", "serialization", "keys_schema"})
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def written_instant(value: Any) -> Any:
    """An instant, a day or an hour as it is written; a number (0 for 1970) is none, as text neither."""
    if isinstance(value, str):
        if NUMBER.fullmatch(value) is None:
            return value
    elif isinstance(value, date | time):
        return value
    raise PydanticKnownError("datetime_type")


def _strict(schema: Any) -> Any:
    """A schema in which 0 is no `false`, "1" no number, 0 no instant; keys of objects are text anyway."""
    if isinstance(schema, list):
        return [_strict(one) for one in cast(list[Any], schema)]
    if not isinstance(schema, dict):
        return schema
    node = cast(dict[str, Any], schema)
    kept = {name: value if name in NO_SCHEMAS else _strict(value) for name, value in node.items()}
    match kept.get("type"):
        case "bool" | "int" | "float":
            return {**kept, "strict": True}
        case "datetime" | "date" | "time":
            return core_schema.no_info_before_validator_function(written_instant, cast(CoreSchema, kept))
        case _:
            return kept


class Body(BaseModel):
    """What is sent to us: an unknown field is an error, and a value of another type, too.

    Forms send text for everything: they are read with `strict=False`.
    """

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """As pydantic makes it, with strict types."""
        return _strict(handler(source))


class Patch(Body):
    """What changes of an object: null empties a field, an absent one stays as it is.

    `EMPTIED` says what becomes of a field that is emptied; null in any other is 422.
    """

    EMPTIED: ClassVar[Mapping[str, Any]] = {}

    @field_validator("*", mode="before")
    @classmethod
    def _keep_from_null(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and info.field_name not in cls.EMPTIED:
            raise PydanticCustomError("not_empty", "ce champ ne se vide pas ; absent, il reste tel quel")
        return value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Without null where it is rejected, and without a default: what is absent stays."""
        described = handler.resolve_ref_schema(handler(schema))
        for name, field in described["properties"].items():
            if field.get("default", False) is None:
                del field["default"]
            options = [one for one in field.get("anyOf", ()) if one != {"type": "null"}]
            if name not in cls.EMPTIED and len(options) == 1:
                del field["anyOf"]
                field.update(options[0] | field)
        return described

    def changed(self, *left_out: str, mode: Literal["python", "json"] = "python") -> dict[str, Any]:
        """What is given, by field, as it is written."""
        given = self.model_dump(mode=mode, include=self.model_fields_set - set(left_out))
        return {name: self.EMPTIED[name] if value is None else value for name, value in given.items()}


class PlacedPatch(Patch):
    """What changes of something that stands somewhere."""

    @model_validator(mode="after")
    def _emptied_together(self) -> Self:
        given = {"latitude", "longitude"} & self.model_fields_set
        emptied = {name for name in given if getattr(self, name) is None}
        if len(emptied) == 1:
            raise PydanticCustomError("emptied_together", "latitude et longitude se vident ensemble")
        return self


def example(whole: dict[str, Any]) -> ConfigDict:
    """The configuration of a body whose reference shows `whole`, ready to be sent."""
    return ConfigDict(json_schema_extra={"examples": [whole]})


class ArchivedBody(Body):
    """Si c'est archivé."""

    model_config = example({"archived": True})

    archived: bool = Field(description="true : hors des listes et des alertes ; false : de retour")


class Answer(BaseModel):
    """What we say."""

    model_config = ConfigDict(from_attributes=True)


def answer_of(row: type[Any], hidden: Collection[str] = ()) -> type[Answer]:
    """An answer with the fields of a row but the `hidden` ones: a base for one that describes some of them."""
    shown = {name: kind for name, kind in get_type_hints(row).items() if name not in hidden}
    fields: dict[str, Any] = {name: (kind, ...) for name, kind in shown.items()}
    return create_model(row.__name__, __base__=Answer, **fields)


def _eui(text: str) -> str:
    try:
        octets = parse_eui(text)
    except ValueError:
        octets = b""
    if len(octets) != EUI_LENGTH:
        raise PydanticCustomError("eui", "16 chiffres hexadécimaux attendus")
    return octets.hex()


def _hex(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _octets_of(text: str, length: int) -> bytes:
    try:
        octets = bytes.fromhex(text)
    except ValueError:
        octets = b""
    if len(octets) != length or len(text) != 2 * length:
        raise PydanticCustomError("hex", "{digits} chiffres hexadécimaux attendus", {"digits": 2 * length})
    return octets


def revealed(secret: SecretStr | None) -> str | None:
    """The text of a secret that may be absent, for whom it is wrapped."""
    return None if secret is None else secret.get_secret_value()


def key_octets(key: SecretStr) -> bytes:
    """The octets of a `Key`."""
    return bytes.fromhex(key.get_secret_value())


def _key(secret: SecretStr) -> SecretStr:
    _octets_of(secret.get_secret_value(), AES_KEY_OCTETS)
    return secret


def _dev_addr(text: str) -> str:
    return _octets_of(text, DEV_ADDR_LENGTH).hex()


def _instant(at: datetime) -> datetime:
    if not EARLIEST <= at <= LATEST:
        raise PydanticCustomError("instant", "instant entre 1970 et 2200 attendu")
    return at.astimezone(UTC)


def _json(value: dict[str, Any]) -> dict[str, Any]:
    try:
        octets = msgspec.json.encode(value)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise PydanticCustomError("json", "valeurs JSON attendues") from None
    if len(octets) > ATTRIBUTES_OCTETS_MOST:
        raise PydanticCustomError("json_too_long", "32 ko au plus")
    if b"\\u0000" in octets:
        raise PydanticCustomError("json", "caractère nul interdit")
    return value


WATTS_FR = "rated_power_w : un nombre de watts, de plus de 0 à 1000000"
PROGRAMS_FR = (
    "les horaires d'éclairage ne sont plus un attribut : créez un programme (POST /v1/lighting-programs) et "
    "affectez-le (POST /v1/lighting-programs/assignments) ; la puissance des lampes est l'attribut rated_power_w"
)


def _attributes(value: dict[str, Any]) -> dict[str, Any]:
    try:
        geometry_of(value)
    except InvalidGeometry as wrong:
        raise PydanticCustomError("container", "{why}", {"why": str(wrong)}) from None
    if "lighting" in value:
        raise PydanticCustomError("lighting", PROGRAMS_FR)
    watts = value.get("rated_power_w")
    if watts is not None and not (
        isinstance(watts, int | float) and not isinstance(watts, bool) and 0 < watts <= MOST_POWER_W
    ):
        raise PydanticCustomError("rated_power_w", WATTS_FR)
    return value


PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=PRINTABLE)]
Text = Annotated[str, StringConstraints(max_length=1000, pattern=PRINTABLE)]
Remark = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=PRINTABLE)]
Label = Annotated[str, StringConstraints(max_length=200, pattern=PRINTABLE)]
Reference = Annotated[
    str, StringConstraints(min_length=1, max_length=100, pattern=PRINTABLE), Field(examples=["ARM-0012"])
]
Insee = Annotated[str, StringConstraints(pattern=r"^[0-9][0-9AB][0-9]{3}$"), Field(examples=["29103"])]
Slug = Annotated[str, StringConstraints(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]
Word = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
ShortText = Annotated[str, StringConstraints(max_length=63, pattern=PRINTABLE)]
MqttText = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]
Eui = Annotated[str, BeforeValidator(_hex), AfterValidator(_eui), Field(examples=["70b3d57ed0001234"])]
DevAddrHex = Annotated[str, AfterValidator(_dev_addr), Field(examples=["01ab23cd"])]
Key = Annotated[
    SecretStr,
    AfterValidator(_key),
    Field(
        json_schema_extra={"writeOnly": True, "examples": ["000102030405060708090a0b0c0d0e0f"]},
        description="128 bits, 32 chiffres hexadécimaux ; scellée au repos pour ce seul objet, montrée par "
        "aucune lecture : seule une sortie de clés peut la donner",
    ),
]
HexOctets = Annotated[str, BeforeValidator(_hex)]
Latitude = Annotated[float, Field(ge=-90, le=90, examples=[48.4499])]
Longitude = Annotated[float, Field(ge=-180, le=180, examples=[-4.2516])]
Instant = Annotated[AwareDatetime, BeforeValidator(written_instant), AfterValidator(_instant)]
Day = Annotated[date, BeforeValidator(written_instant)]
Json = Annotated[dict[str, Any], AfterValidator(_json)]
Attributes = Annotated[dict[str, Any], AfterValidator(_json), AfterValidator(_attributes)]

ID_TEXT = "Identifiant donné à la création ; `id` dans les listes"
Id = Annotated[int, Path(ge=1, le=INT4_MOST, description=ID_TEXT, examples=[42])]
BigId = Annotated[int, Path(ge=1, le=INT8_MOST, description=ID_TEXT, examples=[42])]
IdRef = Annotated[int, Field(ge=1, le=INT4_MOST, examples=[42])]
IdQuery = Annotated[int | None, Query(ge=1, le=INT4_MOST, description="Identifiant ; absent : tous")]
EuiPath = Annotated[
    str,
    Path(
        pattern="^[0-9a-fA-F]{16}$",
        description="EUI : 16 chiffres hexadécimaux, sur l'étiquette du matériel",
        examples=["70b3d57ed0001234"],
    ),
]
AssetKind = Annotated[str | None, Query(max_length=63, pattern=PRINTABLE, description="Type d'actif")]
Archived = Annotated[bool, Query(description="true : ce qui est archivé, à la place du reste")]
Search = Annotated[str | None, Query(max_length=100, pattern=PRINTABLE)]
