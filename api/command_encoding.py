"""Encodes a typed command by the device's codec or its vendor's encoder."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from api.codec_fields import CommandSpec, ParameterSpec
from api.decodings import decoding_of_tenant
from core.model.entities import DeviceProfile
from core.runtime.http.errors import Problem, not_found
from core.runtime.postgres import Connection
from decoders.catalogue import CODECS
from decoders.codec import Codec, Command, EncodedCommand, Parameter, UnsupportedCommand
from decoders.commands import checked
from decoders.javascript.inputs import downlink_input, uplink_input
from decoders.javascript.pool import Answer, Call
from ingest.known_codecs import compiled
from ingest.scripts import Workers
from ingest.vendor_codecs import AnyCodec, VendorCodec
from registry.codecs import read_version
from registry.enrolment import EnrolledDevice
from registry.profiles import read_profile

LARGEST_PAYLOAD = 242
SAME_WITHIN = 1e-6
NO_DECODER = "Le codec n'a pas de fonction"


@dataclass(frozen=True, slots=True)
class Encoded:
    """The octets of a command. `decoded_back` is what the vendor's own decoder says of them; None: it has none."""

    f_port: int
    payload: bytes
    warnings: list[str]
    switches: bool
    decoded_back: dict[str, Any] | None = None
    agrees: bool | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What is commanded, and how it is spoken to."""

    codec: AnyCodec | None
    commands: Sequence[CommandSpec]
    options: Mapping[str, Any]
    dev_eui: bytes
    name: str
    is_native: bool = True  # The codec is one of this program's.


async def target_of(connection: Connection, device: EnrolledDevice) -> tuple[Target, DeviceProfile]:
    """How a device is spoken to, and its profile."""
    profile = await read_profile(connection, device.device_profile_id)
    if profile is None:
        raise not_found(f"profil {device.device_profile_id}")
    _, decoding = await decoding_of_tenant(connection, device.tenant_id, profile)
    codec = CODECS.get(decoding.codec)
    if decoding.codec_version_id is not None:
        version = await read_version(connection, decoding.codec_version_id)
        codec = None if version is None else compiled(version, decoding, device.tenant_id)
    commands = [CommandSpec.model_validate(command) for command in profile.commands]
    is_native = decoding.codec_version_id is None
    return Target(codec, commands, profile.codec_options, device.dev_eui, device.name, is_native), profile


def known_commands(target: Target) -> list[CommandSpec]:
    """The commands of a device, with their parameters: those of its profile and those of its codec."""
    named = {command.name: command for command in target.commands}
    if isinstance(target.codec, Codec):
        named = {command.name: _spec(command) for command in target.codec.commands} | named
    return list(named.values())


def _parameter(parameter: Parameter) -> ParameterSpec:
    shown: dict[str, Any] = asdict(parameter) | {"choices": list(parameter.choices)}
    return ParameterSpec.model_construct(None, **shown)


def _spec(command: Command) -> CommandSpec:
    parameters = [_parameter(parameter) for parameter in command.parameters]
    return CommandSpec.model_construct(
        name=command.name,
        label_fr=command.label_fr,
        parameters=parameters,
        data={},
        f_port=None,
        switches=command.switches,
        help_fr="",
    )


async def encode(
    target: Target, name: str, parameters: Mapping[str, Any], workers: Workers, now_us: int
) -> Encoded:
    """The octets of command `name`; 404: the device has no such command, 422: a value is invalid (with why)."""
    command = next((one for one in known_commands(target) if one.name == name), None)
    if command is None:
        known = ", ".join(one.name for one in known_commands(target)) or "aucune"
        raise Problem(404, f"ce capteur n'a pas de commande « {name} » (connues : {known})")
    match target.codec:
        case Codec(encode=None) | None:
            raise Problem(409, "le décodeur de ce capteur ne sait pas encoder de commande")
        case Codec() as codec:
            return _native(codec, command, parameters)
        case VendorCodec() as vendor:
            if vendor.suspended is not None:
                raise Problem(409, vendor.suspended)
            return await _by_vendor(vendor, target, command, parameters, workers, now_us)


def _native(codec: Codec, command: CommandSpec, parameters: Mapping[str, Any]) -> Encoded:
    assert codec.encode is not None  # noqa: S101 - Matched by the caller.
    try:
        encoded: EncodedCommand = codec.encode(command.name, parameters)
    except UnsupportedCommand as refused:
        raise Problem(422, str(refused)) from None
    return _sendable(Encoded(encoded.f_port, encoded.payload, [], command.switches))


async def _by_vendor(
    vendor: VendorCodec,
    target: Target,
    command: CommandSpec,
    parameters: Mapping[str, Any],
    workers: Workers,
    now_us: int,
) -> Encoded:
    try:
        data = command.filled(checked(command.command(), parameters))
    except UnsupportedCommand as refused:
        raise Problem(422, str(refused)) from None
    dev_eui = target.dev_eui.hex()
    asked = downlink_input(
        data,
        now_us,
        f_port=command.f_port,
        dev_eui=dev_eui,
        device_name=target.name,
        variables=target.options,
    )
    [answer] = await workers.call([Call(vendor.script, "encodeDownlink", asked)])
    f_port, payload = _octets(answer, command)
    encoded = _sendable(Encoded(f_port, payload, list(answer.warnings), command.switches))
    back = uplink_input(
        f_port, payload, now_us, dev_eui=dev_eui, device_name=target.name, variables=target.options
    )
    [decoded] = await workers.call([Call(vendor.script, "decodeDownlink", back)])
    return _checked(encoded, data, decoded)


def _octets(answer: Answer, command: CommandSpec) -> tuple[int, bytes]:
    problem = answer.problem
    if problem is not None or answer.output is None:
        raise Problem(422, f"l'encodeur du fabricant refuse : {problem or 'pas de résultat'}")
    octets, f_port = answer.output.get("bytes"), answer.output.get("fPort") or command.f_port
    if octets is None or not isinstance(f_port, int):
        raise Problem(422, "l'encodeur du fabricant n'a pas donné d'octets, ou pas de port")
    return f_port, bytes(cast("list[int]", octets))


def _sendable(encoded: Encoded) -> Encoded:
    """422 for what no LoRaWAN downlink can carry."""
    if not 1 <= encoded.f_port <= 223:  # noqa: PLR2004 - LoRaWAN L2 1.0.4, section 4.3.2.
        raise Problem(422, f"l'encodeur donne le port {encoded.f_port}, hors de 1 à 223")
    if len(encoded.payload) > LARGEST_PAYLOAD:
        raise Problem(422, f"l'encodeur donne {len(encoded.payload)} octets, {LARGEST_PAYLOAD} au plus")
    return encoded


def _checked(encoded: Encoded, data: dict[str, Any], decoded: Answer) -> Encoded:
    """With what the vendor's decoder of downlinks says of the octets, where there is one."""
    if decoded.failure is not None and decoded.reason.startswith(NO_DECODER):
        return encoded
    said = None if decoded.output is None else decoded.output.get("data")
    if decoded.problem is not None or not isinstance(said, dict):
        raise Problem(
            422, f"la relecture de la commande échoue : {decoded.problem or 'pas de résultat'} ; rien n'est envoyé"
        )
    back = cast("dict[str, Any]", said)
    agrees = _says(back, data)
    warnings = encoded.warnings
    if not agrees:
        warnings = [*warnings, "relue par le décodeur du fabricant, la commande ne dit pas la même chose"]
    return Encoded(encoded.f_port, encoded.payload, warnings, encoded.switches, back, agrees)


def _says(back: Any, asked: Any) -> bool:
    """Whether everything that was asked is in what was read back."""
    if isinstance(asked, dict):
        known = cast("dict[str, Any]", back) if isinstance(back, dict) else {}
        return all(
            key in known and _says(known[key], value) for key, value in cast("dict[str, Any]", asked).items()
        )
    if isinstance(asked, list):
        ours, theirs = cast("list[Any]", asked), cast("list[Any]", back) if isinstance(back, list) else []
        return len(ours) == len(theirs) and all(_says(one, other) for one, other in zip(theirs, ours, strict=True))
    if isinstance(asked, int | float) and not isinstance(asked, bool) and isinstance(back, int | float):
        return math.isclose(asked, back, abs_tol=SAME_WITHIN, rel_tol=SAME_WITHIN)
    return asked == back
