"""Encodes, once, all that a lighting command needs to its end; and what an unknown act is brought back by."""

from datetime import UTC, datetime

from api.auth import Caller, Change
from api.command_encoding import Target, encode, known_commands, target_of
from core.runtime.http.errors import Problem
from core.runtime.postgres import Connection
from decoders.codec import Codec, EncodedCommand
from lighting import act_store, circuit_store
from lighting.circuit_store import Circuit
from lighting.commands import RejectedLightingCommand
from lighting.octets import Asked, Octets, octets_of_codec, usual_proof, wanted_for
from lighting.requests import NOT_SERVED
from lorawan.instants import to_us
from registry.enrolment import read_enrolled


async def octets_of(connection: Connection, caller: Caller, circuit: Circuit, asked: Asked) -> Octets:
    """The octets for a circuit, by its device's codec, of whatever kind.

    Raises:
        RejectedLightingCommand: it cannot be commanded so; the message says why, in French.
    """
    device = None if circuit.dev_eui is None else await read_enrolled(connection, circuit.dev_eui)
    if device is None:
        raise RejectedLightingCommand(NOT_SERVED)
    target, _ = await target_of(connection, device)
    specs = {
        spec.name: {parameter.name: parameter.default for parameter in spec.parameters}
        for spec in known_commands(target)
    }
    is_native = target.is_native and isinstance(target.codec, Codec)
    proof = (
        target.codec.proof
        if is_native and isinstance(target.codec, Codec)
        else usual_proof(specs, circuit.reported or ())
    )
    if isinstance(target.codec, Codec):
        return octets_of_codec(target.codec, proof, circuit.output, asked, circuit.reported or ())
    wanted = wanted_for(specs, proof, circuit.output, asked, circuit.reported or ())
    frames: dict[str, EncodedCommand] = {}
    for use, (name, parameters) in wanted.commands.items():
        frames[use] = await _encode(caller, target, name, parameters)
    return wanted.as_octets(frames)


async def _encode(caller: Caller, target: Target, name: str, parameters: dict[str, object]) -> EncodedCommand:
    now_us = to_us(datetime.now(UTC))
    try:
        encoded = await encode(target, name, parameters, caller.platform.codec_workers, now_us)
    except Problem as refused:
        raise RejectedLightingCommand(f"{name} : {refused.detail}") from None
    if encoded.agrees is False:
        raise RejectedLightingCommand(
            f"{name} : relue par le décodeur du fabricant, elle ne dit pas la même chose"
        )
    return EncodedCommand(encoded.f_port, encoded.payload)


async def keep_for_unknown_act(change: Change, caller: Caller, device_id: int) -> None:
    """After an act of this transaction: keep by what each circuit of a device is brought back.

    Of codecs of this program the service encodes that by itself.
    """
    for asset_id in await circuit_store.served_by(change.connection, device_id):
        for circuit in await circuit_store.find_circuits(change.connection, asset_id):
            if circuit.device_id != device_id or circuit.codec_version_id is None:
                continue
            try:
                octets = await octets_of(change.connection, caller, circuit, Asked(datetime.now(UTC)))
            except RejectedLightingCommand:
                continue  # People are asked to look at it when it is time.
            await act_store.keep_act_octets(change.connection, circuit.asset_id, device_id, octets)
