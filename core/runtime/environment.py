"""Settings as the environment tells them, and what is said in French of those that are wrong or misspelt."""

import os
import re
import ssl
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin
from urllib.parse import parse_qs, urlsplit

import msgspec
from pydantic import AfterValidator, BeforeValidator, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from core.runtime.setting_names import SETTING_NAMES

PREFIX = "TERRITOIRE_"
# EX_CONFIG would say the same, and 2 is what every command of ours ends with that was told something wrong.
WRONG_SETTING = 2
VALUE_SHOWN = 80
# Of two names (difflib): one letter of four may be another.
ALIKE = 0.75
HIDDEN = "(masquée)"
CHOICES = re.compile(r"\^\(([^()]+)\)\$")

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a value must look like, in French, where type and bounds do not say it all."""

    french: str


@dataclass(frozen=True, slots=True)
class WrongSetting:
    """`name` is the variable; None: several do not go together. `value` is None where it is missing."""

    name: str | None
    value: str | None
    expected: str

    @property
    def french(self) -> str:
        """One line; never a secret."""
        if self.name is None:
            return f"réglages qui ne vont pas ensemble : {self.expected}"
        if self.value is None:
            return f"réglage manquant : {self.name} ; attendu : {self.expected}"
        return f"réglage faux : {self.name}={self.value} ; attendu : {self.expected}"


class SettingsRefused(Exception):
    """What the environment tells is not what is expected: every wrong setting at once."""

    def __init__(self, wrong: Sequence[WrongSetting]) -> None:
        super().__init__("; ".join(one.french for one in wrong))
        self.wrong = tuple(wrong)


def read_settings(kind: type[SettingsT], told: Mapping[str, str] = os.environ) -> SettingsT:
    """The settings of this class, as `told` has them.

    Raises:
        SettingsRefused: some are missing or wrong.
    """
    values = {name: value for name in kind.model_fields if (value := _told(told, name)) is not None}
    try:
        return kind(**cast(dict[str, Any], values))
    except ValidationError as refused:
        raise SettingsRefused(
            [_wrong(kind, error, values) for error in refused.errors(include_url=False)]
        ) from None


def settings_or_exit(program: str, kind: type[SettingsT]) -> SettingsT:
    """The settings of this process; when some are wrong, each is told on standard error, and the process ends."""
    try:
        return read_settings(kind)
    except SettingsRefused as refused:
        for line in (*refused.wrong, *unknown_settings()):
            sys.stderr.write(f"{program} : {line.french}\n")
        raise SystemExit(WRONG_SETTING) from None


def _told(told: Mapping[str, str], field: str) -> str | None:
    variable = PREFIX + field.upper()
    return told.get(variable, told.get(variable.lower()))


def _wrong(kind: type[BaseSettings], error: Any, values: Mapping[str, str]) -> WrongSetting:
    if not error["loc"]:
        return WrongSetting(None, None, str(error["ctx"]["error"]))
    field = str(error["loc"][0])
    about = kind.model_fields[field]
    value = values.get(field)
    return WrongSetting(
        PREFIX + field.upper(), None if value is None else _shown(about, value), expectation(about)
    )


def _shown(field: FieldInfo, value: str) -> str:
    if SecretStr in _kinds(field.annotation):
        return HIDDEN
    shown = value if len(value) <= VALUE_SHOWN else value[:VALUE_SHOWN] + "…"
    return f"« {''.join(letter if letter.isprintable() else '?' for letter in shown)} »"


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """The types that a value may have, None left out."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return tuple(kind for one in get_args(annotation) for kind in _kinds(one) if kind is not type(None))
    return (annotation,)


def expectation(field: FieldInfo) -> str:
    """What is expected of a setting, in French."""
    for told in field.metadata:
        if isinstance(told, Expected):
            return told.french
    pattern = _limit(field, "pattern")
    choices = CHOICES.fullmatch(pattern) if pattern else None
    if choices is not None:
        *some, last = choices[1].split("|")
        return f"{', '.join(some)} ou {last}"
    [kind] = _kinds(field.annotation)
    if kind is bool:
        return "true ou false"
    if kind in {int, float}:
        return f"un nombre{' entier' if kind is int else ''}{_bounds(field)}"
    return "le chemin d'un dossier" if kind is Path else "un texte"


def _bounds(field: FieldInfo) -> str:
    least, most = _limit(field, "ge"), _limit(field, "le")
    if least is not None and most is not None:
        return f" de {least} à {most}"
    bounds = [
        f"{words} {bound}"
        for words, bound in (("d'au moins", least), ("plus grand que", _limit(field, "gt")), ("d'au plus", most))
        if bound is not None
    ]
    return " " + " et ".join(bounds) if bounds else ""


def _limit(field: FieldInfo, name: str) -> Any:
    return next((limit for told in field.metadata if (limit := getattr(told, name, None)) is not None), None)


@dataclass(frozen=True, slots=True)
class UnknownSetting:
    """A variable with our prefix that nothing of ours reads. `nearest`: what was perhaps meant."""

    name: str
    nearest: str | None

    @property
    def french(self) -> str:
        """One line."""
        meant = f" : vouliez-vous dire {self.nearest} ?" if self.nearest else ""
        return f"{self.name} n'est pas un réglage, personne ne le lit{meant}"


def unknown_settings(told: Mapping[str, str] = os.environ) -> list[UnknownSetting]:
    """The variables that are misspelt, or of another version. Another process's settings are known."""
    found: list[UnknownSetting] = []
    for name in sorted(told):
        if not name.upper().startswith(PREFIX) or name.upper() in SETTING_NAMES:
            continue
        known = {one.removeprefix(PREFIX): one for one in SETTING_NAMES}
        nearest = get_close_matches(name.upper().removeprefix(PREFIX), sorted(known), 1, ALIKE)
        found.append(UnknownSetting(name, known[nearest[0]] if nearest else None))
    return found


def _from_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError as malformed:
        raise ValueError(str(malformed)) from None


def _readable(file: Path) -> Path:
    try:
        file.read_bytes()
    except OSError as refused:
        raise ValueError(refused.strerror) from None
    return file


def address_check(*schemes: str) -> Callable[[SecretStr], SecretStr]:
    """A validator: an address, or several with commas between them, whose authority's file can be read."""

    def check(address: SecretStr) -> SecretStr:
        whole = address.get_secret_value()
        _, _, query = whole.partition("?")
        options = {name: values[-1] for name, values in parse_qs(query).items()}
        servers = whole.removesuffix(f"?{query}").split(",")
        # Of PostgreSQL's several hosts only the first has a scheme; it may have none, and a socket's folder.
        first = urlsplit(servers[0])
        if first.scheme not in schemes or not (first.netloc or "host" in options):
            raise ValueError("malformed address")
        for server in servers:
            parts = urlsplit(server if "://" in server else f"{first.scheme}://{server}")
            if parts.scheme not in schemes or not (parts.hostname or "host" in options):
                raise ValueError("malformed address")
            _ = parts.port  # It raises ValueError itself.
        _load_authority(options.get("ca") or options.get("sslrootcert"))
        return address

    return check


def _load_authority(file: str | None) -> None:
    if file is None:
        return
    try:
        ssl.create_default_context(cafile=file)
    except OSError as refused:  # ssl.SSLError is one.
        raise ValueError(f"no authority in {file}: {refused}") from None


PemFile = Annotated[
    Annotated[Path, AfterValidator(_readable)] | None,
    Expected("le chemin d'un fichier PEM que ce processus peut lire"),
]
# A field is Annotated[dict[str, str], NoDecode, FROM_JSON]: the library would stop at the first that is malformed.
FROM_JSON = BeforeValidator(_from_json)
A_DATABASE = Expected(
    "postgresql://compte:motdepasse@machine:port/base (un caractère spécial du mot de passe s'écrit %40, %2F… ; "
    "le fichier de sslrootcert doit se lire)"
)
A_BUS = Expected(
    "nats://compte:motdepasse@machine:port, ou tls://…?ca=/chemin/ca.pem (le fichier doit se lire) ; plusieurs "
    "serveurs d'une grappe : séparés par des virgules"
)
A_BROKER = Expected(
    "mqtt://compte:motdepasse@machine:port, ou mqtts://…?ca=/chemin/ca.pem (le fichier doit se lire)"
)
DatabaseAddress = Annotated[SecretStr, AfterValidator(address_check("postgresql", "postgres")), A_DATABASE]
BusAddress = Annotated[SecretStr, AfterValidator(address_check("nats", "tls")), A_BUS]
OptionalBroker = Annotated[Annotated[SecretStr, AfterValidator(address_check("mqtt", "mqtts"))] | None, A_BROKER]
