"""Fields of codecs in request bodies and answers: mappings, commands with their typed parameters."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, cast

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from api.fields import Body, Json, Name, Text, Word, example
from core.runtime.http.errors import invalid
from decoders.codec import SECRET_OPTIONS, Command, EncodedCommand, Parameter, ParameterKind
from decoders.mapping import InvalidMapping, Mapping

MOST_RULES, MOST_PARAMETERS, MOST_CHOICES = 200, 16, 64
LONGEST_SOURCE = 524_288
WHERE_KEYS_GO = (
    "« {option} » ne s'écrit pas dans les réglages, que chacun peut relire : posez la clé sur le capteur "
    "(PUT /v1/devices/<dev_eui>/decoding-key) ou, par défaut, sur le profil "
    "(PUT /v1/device-profiles/<id>/decoding-key)"
)

Form = Literal["decodeUplink", "Decoder", "Decode"]
Language = Literal["javascript", "declarative"]


def _mapping(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    try:
        return Mapping.parse(rules).as_json()
    except InvalidMapping as wrong:
        raise PydanticCustomError("mapping", "{why}", {"why": str(wrong)}) from None


MappingRules = Annotated[
    list[dict[str, Any]],
    AfterValidator(_mapping),
    Field(
        max_length=MOST_RULES,
        examples=[[{"path": "temperature", "quantity": "temperature", "channel": "", "unit": "°C"}]],
    ),
]


def _without_keys(options: dict[str, Any]) -> dict[str, Any]:
    for option in sorted(SECRET_OPTIONS & options.keys()):
        raise PydanticCustomError("key_in_options", WHERE_KEYS_GO, {"option": option})
    return options


# Settings of a codec; everybody who may read the profile reads them, so they hold no key.
CodecOptions = Annotated[Json, AfterValidator(_without_keys)]


def _source(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("source", "caractère nul interdit")
    try:
        octets = len(text.encode())
    except UnicodeEncodeError:
        raise PydanticCustomError("source", "texte Unicode attendu") from None
    if not 0 < octets <= LONGEST_SOURCE:
        raise PydanticCustomError("source", "entre 1 octet et 512 ko attendus")
    return text


Source = Annotated[
    str,
    StringConstraints(strip_whitespace=False),
    AfterValidator(_source),
    Field(
        description="Le texte du décodeur : JavaScript du fabricant, ou tableau YAML",
        examples=["function decodeUplink(input) { return { data: { niveau: input.bytes[0] } }; }"],
    ),
]


class ParameterSpec(Body):
    """Un paramètre d'une commande ; sans `default` il est obligatoire."""

    model_config = example(
        {"name": "minutes", "label_fr": "Durée d'ouverture", "minimum": 1, "maximum": 240, "unit": "min"}
    )

    name: Word = Field(examples=["minutes"])
    label_fr: Name = Field(examples=["Durée d'ouverture"])
    kind: ParameterKind = Field(
        ParameterKind.INTEGER, description="`integer`, `number`, `boolean`, `choice`, `text` ou `list`"
    )
    minimum: float | None = Field(None, examples=[1])
    maximum: float | None = Field(None, examples=[240])
    unit: Annotated[str, StringConstraints(max_length=30)] = Field("", examples=["min"])
    choices: list[Name] = Field(default_factory=list[str], max_length=MOST_CHOICES)
    default: bool | int | float | str | None = None
    required: bool = Field(True, description="Faux : il peut manquer, et rien n'en est dit à l'encodeur")

    def parameter(self) -> Parameter:
        """As the decoders check it."""
        given: dict[str, Any] = dict(self) | {"choices": tuple(self.choices)}
        given |= {"minimum": _whole(self.minimum), "maximum": _whole(self.maximum)}
        return Parameter(**given)


def _whole(bound: float | None) -> float | None:
    """240 rather than 240.0, as the error message shows it."""
    return int(bound) if bound is not None and bound.is_integer() else bound


class CommandSpec(Body):
    """Une commande : ce que l'encodeur du fabricant reçoit, où `"$nom"` est la valeur d'un paramètre."""

    model_config = example(
        {
            "name": "open_valve",
            "label_fr": "Ouvrir la vanne",
            "parameters": [{"name": "minutes", "label_fr": "Durée d'ouverture", "minimum": 1, "maximum": 240}],
            "data": {"valve": "open", "duration": "$minutes"},
            "switches": True,
        }
    )

    name: Word = Field(examples=["open_valve"])
    label_fr: Name = Field(examples=["Ouvrir la vanne"])
    parameters: list[ParameterSpec] = Field(default_factory=list[ParameterSpec], max_length=MOST_PARAMETERS)
    data: Json = Field(
        default_factory=dict,
        description='Ce que reçoit l\'encodeur ; `"$minutes"` y est remplacé par le paramètre',
        examples=[{"valve": "open", "duration": "$minutes"}],
    )
    f_port: Annotated[int, Field(ge=1, le=223)] | None = Field(
        None, description="Port, quand l'encodeur ne le dit pas", examples=[85]
    )
    switches: bool = Field(
        False, description="Agit sur le territoire (relais, vanne) et pas seulement sur les réglages"
    )
    help_fr: Text = ""

    @model_validator(mode="after")
    def _names_are_there_once(self) -> Self:
        names = [parameter.name for parameter in self.parameters]
        if len(names) != len(set(names)):
            raise PydanticCustomError("command", "deux paramètres portent le même nom")
        unknown = sorted(_placeholders(self.data) - set(names))
        if unknown:
            raise PydanticCustomError(
                "command", "« data » cite {names}, qui n'est pas un paramètre", {"names": ", ".join(unknown)}
            )
        return self

    def command(self) -> Command:
        """As the decoders check its parameters; what it builds is the vendor's encoder's work."""
        parameters = tuple(parameter.parameter() for parameter in self.parameters)
        return Command(self.name, self.label_fr, _not_built_here, parameters, self.switches)

    def filled(self, values: dict[str, Any]) -> dict[str, Any]:
        """What the encoder receives."""
        return _filled(self.data, values)


def _not_built_here(_values: Any) -> EncodedCommand:
    raise NotImplementedError("a vendor's command is built by its script")


def _placeholders(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value[1:]} if value.startswith("$") else set()
    return {name for inner in _inside(value) for name in _placeholders(inner)}


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(cast("dict[str, Any]", value).values())
    return cast("list[Any]", value) if isinstance(value, list) else []


def _filled(value: Any, values: dict[str, Any]) -> Any:
    if isinstance(value, str) and value.startswith("$"):
        return values[value[1:]]
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value).items()
        return {key: _filled(inner, values) for key, inner in entries if not _left_out(inner, values)}
    if isinstance(value, list):
        return [_filled(inner, values) for inner in cast("list[Any]", value)]
    return value


def _left_out(value: Any, values: dict[str, Any]) -> bool:
    """Whether it is a parameter of which nothing was said."""
    return isinstance(value, str) and value.startswith("$") and values[value[1:]] is None


def check_commands(commands: Sequence[CommandSpec], capabilities: Sequence[str]) -> None:
    """422 for two commands of one name, and for one that switches on a model that is not said to."""
    names = [command.name for command in commands]
    if len(names) != len(set(names)):
        raise invalid("commands", "duplicate", "deux commandes portent le même nom")
    if "switch" not in capabilities and any(command.switches for command in commands):
        raise invalid(
            "commands", "switch", "une commande qui agit sur le territoire demande la capacité « switch »"
        )
