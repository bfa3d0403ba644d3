"""Encodes, once, all that a lighting command needs to its end; and what an unknown act is brought back by."""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from api.auth import Caller, Change
from api.command_encoding import Target, encode, known_commands, target_of
from core.runtime.http.errors import Problem
from core.runtime.postgres import Connection
from decoders.codec import Codec, EncodedCommand, UnsupportedCommand
from decoders.commands import checked
from lighting import act_store, circuit_store
from lighting.circuit_store import Circuit
from lighting.commands import RejectedLightingCommand
from lighting.compilers import SET_PROGRAM, CannotCompile
from lighting.compilers.vendor_clock import compile_for_vendor
from lighting.expected import LampRow
from lighting.octets import Asked, Octets, octets_of_codec, usual_proof, wanted_for
from lighting.program_targets import NO_PROGRAM, Holder, RejectedProgram, encoded_of
from lighting.requests import NOT_SERVED
from lighting.vendor_programs import READ_PROGRAM, VendorProgram
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


@dataclass(slots=True)
class ProgramEncoder:
    """Programs for clocks of other makes, encoded once for all that are alike."""

    connection: Connection
    caller: Caller
    _targets: dict[int, Target] = field(default_factory=dict[int, Target])  # By profile.
    _programs: dict[str, VendorProgram] = field(default_factory=dict[str, VendorProgram])

    async def encode(self, holder: Holder, row: LampRow) -> VendorProgram:
        """The program in force for a clock, by its vendor's codec.

        Raises:
            RejectedProgram: it cannot be written; the message says why, in French.
        """
        target = await self._target(holder)
        specs = {spec.name: spec for spec in known_commands(target)}
        if SET_PROGRAM not in specs:
            raise RejectedProgram(NO_PROGRAM)
        command = specs[SET_PROGRAM].command()
        of = encoded_of(holder, row)
        place = replace(row.place, latitude=of["latitude"], longitude=of["longitude"])
        try:
            given = compile_for_vendor(command, row.lamps.program, place).parameters or {}
            parameters = checked(command, given)
            alike = json.dumps([holder.device_profile_id, parameters], sort_keys=True)
            if alike not in self._programs:
                frame = await _encode(self.caller, target, SET_PROGRAM, dict(given))
                can_ask = READ_PROGRAM in specs
                question = await _encode(self.caller, target, READ_PROGRAM, {}) if can_ask else None
                self._programs[alike] = VendorProgram(frame, question, frozenset(given), parameters, of)
        except (CannotCompile, UnsupportedCommand, RejectedLightingCommand) as refused:
            raise RejectedProgram(str(refused)) from None
        return replace(self._programs[alike], of=of)

    async def _target(self, holder: Holder) -> Target:
        profile_id = holder.device_profile_id or 0
        if profile_id not in self._targets:
            device = None if holder.dev_eui is None else await read_enrolled(self.connection, holder.dev_eui)
            if device is None:
                raise RejectedProgram(NOT_SERVED)
            self._targets[profile_id], _ = await target_of(self.connection, device)
        return self._targets[profile_id]


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
