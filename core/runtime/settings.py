"""Settings of every process: environment variables that begin with TERRITOIRE_.

Settings common to all processes are here, each service adds its own; so are the French messages about settings
that are wrong, missing or misspelt.
"""

import os
import re
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Self, TypeVar, Union, cast, get_args, get_origin
from urllib.parse import parse_qs, urlsplit

import msgspec
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from core.runtime.errors import system_reason
from core.runtime.keks import Keks, check_command, parse_keks, read_keks
from core.runtime.tls import client_tls

PREFIX = "TERRITOIRE_"
# EX_CONFIG would say the same, and 2 is what every command of ours ends with that was given something wrong.
WRONG_SETTING = 2
VALUE_SHOWN = 80
# Of two names (difflib): one letter of four may be another.
ALIKE = 0.75
HIDDEN = "(masquée)"
CHOICES = re.compile(r"\^\(([^()]+)\)\$")

# Every setting's name: a process finds those of the others beside its own, and knows a misspelt one. A test
# compares with the classes.
_OF_SERVICES = """
    accessibility_contact adr alert_url api_address_rate api_host api_password api_person_rate api_port
    api_proxy_protocol api_trusted_proxies api_wrong_rate audit_export building_forms bus_replicas chirpstack_json
    chirpstack_prefix chirpstack_stats_s chirpstack_url codec_workers cold_folder compress_after_days cups_port
    database_url dedup_window_ms dev_status_every_h disk_folder disk_limit_bytes dispatch_s erasure_ledger
    erasure_settle_s exports_folder exports_octets far_rx1_delay fetch_messages gateways_tried health_host
    health_port housekeeping_every_s indicators_every_s instance intake_application_backlog intake_host
    intake_mqtt_session_expiry intake_port
    intake_rate
    keep_alert_notices_days keep_audit_months keep_measurements_months keep_personal_days_months
    keep_personal_hours_months keep_personal_measurements_months keep_personal_uplinks_months
    keep_quarantine_days keep_uplinks_months keep_webhook_attempts_days kek kek_command kek_file kek_former
    kek_id least_watch_s linger_ms log_format log_level logins longest_linger_ms map_attribution map_tiles_url
    max_duty_cycle measurement_webhooks_s mqtt_accounts mqtt_accounts_url mqtt_client_id mqtt_events_url
    mqtt_prefixes mqtt_public_url mqtt_session_expiry mqtt_url nats_url net_id oidc_audience oidc_client_id
    oidc_client_secret oidc_issuer
    operator_email operator_key
    operator_password osrm_url pass_uplinks pool_size public_url requests_in_flight rollups_every_s rx1_delay
    rx2_data_rate rx2_for_all service_password shards smtp_sender smtp_url station_certificate station_client_ca
    station_credentials station_crl station_host station_key station_port station_proxies station_proxy_protocol
    station_url sweep_s trace_ratio udp_address_lock_s udp_address_rate udp_gateway_rate udp_host udp_port
    udp_read_on_s udp_receive_buffer webhook_concurrency webhook_permit_http webhook_schedule_s
"""
# What the command line, the units and the image read.
_OF_COMMANDS = """
    alarm_mail alarm_url api_key backup_database_url backup_plain backup_recipients home options pitr_s3_key
    pitr_s3_secret postgres_programs restore_database_url revision
"""
SERVICE_SETTINGS = frozenset(f"TERRITOIRE_{name.upper()}" for name in _OF_SERVICES.split())
SETTING_NAMES = SERVICE_SETTINGS | {f"TERRITOIRE_{name.upper()}" for name in _OF_COMMANDS.split()}

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


@dataclass(frozen=True, slots=True)
class Expected:
    """What a value must look like, in French, where type and bounds do not say it all."""

    french: str


def _from_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError as malformed:
        raise ValueError(str(malformed)) from None


def _networks(value: object) -> object:
    """What stands between commas, or in a JSON array."""
    if not isinstance(value, str):
        return value
    listed = value.split(",") if not value.lstrip().startswith("[") else cast(list[str], _from_json(value))
    return tuple(ip_network(text) for text in (str(part).strip() for part in listed) if text)


def _readable(file: Path) -> Path:
    try:
        file.read_bytes()
    except OSError as refused:
        raise ValueError(system_reason(refused)) from None
    return file


def address_check(*schemes: str) -> Callable[[SecretStr], SecretStr]:
    """A validator: an address, or several with commas between them, whose authority's file can be read."""

    def check(address: SecretStr) -> SecretStr:
        whole = address.get_secret_value()
        # An EnvironmentFile takes what stands behind a value, a comment as well, for a part of it.
        if any(letter.isspace() for letter in whole):
            raise ValueError("malformed address")
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
        client_tls(file)
    except OSError as refused:  # ssl.SSLError is one.
        raise ValueError(f"no authority in {file}: {refused}") from None


PemFile = Annotated[
    Annotated[Path, AfterValidator(_readable)] | None,
    Expected("le chemin d'un fichier PEM que ce processus peut lire"),
]
# A field is Annotated[dict[str, str], NoDecode, FROM_JSON]: the library would stop at the first that is malformed.
FROM_JSON = BeforeValidator(_from_json)
Networks = Annotated[
    tuple[IPv4Network | IPv6Network, ...],
    NoDecode,
    BeforeValidator(_networks),
    Expected("des réseaux, 10.0.0.0/8,192.0.2.7/32 par exemple"),
]
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
BrokerOfAccounts = Annotated[
    Annotated[SecretStr, AfterValidator(address_check("mqtt", "mqtts", "http", "https"))] | None,
    Expected("mqtt[s]://compte:mot-de-passe@hôte:port, ou d'EMQX http[s]://clé:secret@hôte:port"),
]
OptionalBroker = Annotated[Annotated[SecretStr, AfterValidator(address_check("mqtt", "mqtts"))] | None, A_BROKER]


class ServiceSettings(BaseSettings):
    """What every process needs; each service adds its own in its `settings` module."""

    model_config = SettingsConfigDict(env_prefix="TERRITOIRE_", extra="ignore", frozen=True)

    database_url: DatabaseAddress = Field(description="postgresql://user:password@host:port/database")
    nats_url: BusAddress = Field(description="nats://user:password@host:port")
    instance: str = Field(
        default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}",
        description="Names this replica in leases, consumers and logs. A restart under the same name "
        "takes its shards back at once.",
    )
    health_host: str = "127.0.0.1"
    health_port: int = Field(default=0, ge=0, le=65535, description="/livez /readyz /metrics; 0: any port")
    pool_size: int = Field(default=4, ge=1, le=50)
    log_format: str = Field(default="json", pattern="^(json|console)$")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    trace_ratio: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="Which part of all frames is traced from the gateway to the webhook, in the log and where "
        "OTEL_EXPORTER_OTLP_ENDPOINT says; the same for every service",
    )

    @property
    def lingers_s(self) -> float:
        """For how long it may go on as before after SIGTERM, while others take over."""
        return 0.0


class KeySettings(ServiceSettings):
    """For the services that wrap or open keys and secrets."""

    kek: Annotated[
        SecretStr | None, Expected("la clé de chiffrement de l'installation, 32, 48 ou 64 chiffres hexadécimaux")
    ] = Field(
        default=None,
        description="Key-encryption key, 16, 24 or 32 octets in hexadecimal; several as id=key, with commas",
    )
    kek_file: Annotated[
        Annotated[Path, AfterValidator(_readable)] | None,
        Expected("le chemin d'un fichier que ce processus peut lire, avec la clé de chiffrement"),
    ] = Field(default=None, description="A file that has what `kek` would have")
    kek_command: Annotated[
        Annotated[str, AfterValidator(check_command)] | None,
        Expected("une commande que ce processus peut lancer, et qui affiche la clé de chiffrement"),
    ] = Field(default=None, description="A command, run without a shell, that prints what `kek` would have")
    kek_former: Annotated[
        SecretStr | None, Expected("id=clé, séparées par des virgules, comme kek-1=00112233…")
    ] = Field(default=None, description="Key-encryption keys that open what is not rotated yet, as id=key")
    kek_id: str = Field(default="kek-1", description="The name of the key that seals")
    _keks: Keks = PrivateAttr()

    @field_validator("kek", "kek_former")
    @classmethod
    def _are_aes_keys(cls, keks: SecretStr | None) -> SecretStr | None:
        if keks is not None:
            parse_keks(keks.get_secret_value(), "kek")
        return keks

    @model_validator(mode="after")
    def _has_its_keks(self) -> Self:
        self._keks = read_keks(
            self.kek_id,
            kek=None if self.kek is None else self.kek.get_secret_value(),
            former=None if self.kek_former is None else self.kek_former.get_secret_value(),
            file=self.kek_file,
            command=self.kek_command,
        )
        return self

    @property
    def keks(self) -> Keks:
        """The key-encryption keys, read once at the start."""
        return self._keks


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


class InvalidSettings(Exception):
    """The environment is not what is expected: every wrong setting at once."""

    def __init__(self, wrong: Sequence[WrongSetting]) -> None:
        super().__init__("; ".join(one.french for one in wrong))
        self.wrong = tuple(wrong)


def read_settings(kind: type[SettingsT], variables: Mapping[str, str] = os.environ) -> SettingsT:
    """The settings of this class, as `variables` has them.

    Raises:
        InvalidSettings: some are missing or wrong.
    """
    values: dict[str, str] = {}
    for field in kind.model_fields:
        variable = PREFIX + field.upper()
        value = variables.get(variable, variables.get(variable.lower()))
        if value is not None:
            values[field] = value
    try:
        return kind(**cast(dict[str, Any], values))
    except ValidationError as refused:
        raise InvalidSettings(
            [_wrong(kind, error, values) for error in refused.errors(include_url=False)]
        ) from None


def settings_or_exit(program: str, kind: type[SettingsT]) -> SettingsT:
    """The settings of this process; when some are wrong, each is named on standard error, and the process ends."""
    try:
        return read_settings(kind)
    except InvalidSettings as refused:
        for line in (*refused.wrong, *unknown_settings()):
            sys.stderr.write(f"{program} : {line.french}\n")
        raise SystemExit(WRONG_SETTING) from None


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
    for about in field.metadata:
        if isinstance(about, Expected):
            return about.french
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
    return next((limit for about in field.metadata if (limit := getattr(about, name, None)) is not None), None)


def wrong_settings(
    classes: Mapping[str, type[BaseSettings]], values: Mapping[str, str] = os.environ
) -> list[tuple[WrongSetting, str]]:
    """Each wrong setting, and a line in French that has the processes that it would stop."""
    found: dict[WrongSetting, list[str]] = {}
    for process, kind in classes.items():
        try:
            read_settings(kind, values)
        except InvalidSettings as refused:
            for wrong in refused.wrong:
                found.setdefault(wrong, []).append(process)
    return [(wrong, f"{wrong.french} ({', '.join(stopped)})") for wrong, stopped in found.items()]


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


def unknown_settings(variables: Mapping[str, str] = os.environ) -> list[UnknownSetting]:
    """The variables that are misspelt, or of another version. Another process's settings are known."""
    known = sorted(name.removeprefix(PREFIX) for name in SETTING_NAMES)
    found: list[UnknownSetting] = []
    for name in sorted(variables):
        if name.upper().startswith(PREFIX) and name.upper() not in SETTING_NAMES:
            nearest = get_close_matches(name.upper().removeprefix(PREFIX), known, 1, ALIKE)
            found.append(UnknownSetting(name, PREFIX + nearest[0] if nearest else None))
    return found
