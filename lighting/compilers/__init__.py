"""Programs for what switches lamps: octets for a clock, and in French what it cannot hold; pure."""

from datetime import date

from core.model.lighting import LampPlace, Program
from decoders.catalogue import CODECS
from decoders.codec import Command
from decoders.territoire import clock
from lighting.compilers.compiled import CannotCompile, Compiled
from lighting.compilers.profile_clock import compile_for_clock
from lighting.compilers.vendor_clock import compile_for_vendor

__all__ = ["SET_PROGRAM", "CannotCompile", "Compiled", "compile_program"]

SET_PROGRAM = "set_program"
ON_PLATFORM = Compiled(losses_fr=("l'appareil ne garde pas de programme : son éclairage dépend de la plateforme",))


def compile_program(
    codec: str, program: Program, place: LampPlace, today: date, set_program: Command | None = None
) -> Compiled:
    """`program` as a device of this codec takes it; `set_program` is a vendor's command of that name, if any.

    What depends on the day, as the dates of school holidays, changes once a year: the same program has the same
    hash from one day to the next.

    Raises:
        CannotCompile: the device would take nothing of it.
    """
    if codec == clock.CODEC.name:
        return compile_for_clock(program, place, today)
    known = CODECS.get(codec)
    if set_program is None and known is not None:
        set_program = next((command for command in known.commands if command.name == SET_PROGRAM), None)
    return ON_PLATFORM if set_program is None else compile_for_vendor(set_program, program, place)
