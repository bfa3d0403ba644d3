"""What an Adeunis TIC device sends, on f_port 1 (docs/decoders-formats.md, "Adeunis")."""

import struct

F_PORT = 1
_TIC_DATA, _TIC_ALARM, _KEEP_ALIVE = 0x49, 0x4A, 0x30
_ABSENT = 0x80000000
_ALARMS = ("appeared", "disappeared", "high", "low", "end", "positive_change", "negative_change")


def _status(counter: int, low_battery: bool, read_error: bool) -> int:
    return (counter & 0x07) << 5 | read_error << 4 | low_battery << 1


def _word(value: int | None) -> int:
    return _ABSENT if value is None else value


def tic_mono(
    adco: str,
    *,
    optarif: str = "BASE",
    ptec: str = "TH..",
    base: int | None = None,
    hchc: int | None = None,
    hchp: int | None = None,
    isousc: int | None = 45,
    iinst: int | None = None,
    imax: int | None = None,
    papp: int | None = None,
    counter: int = 0,
    low_battery: bool = False,
    read_error: bool = False,
) -> bytes:
    """Frame 0x49 of a single-phase meter: indexes in Wh, currents in A, power in VA; None is absent.

    `counter` is the frame counter, modulo 8; the option and the period have four characters.
    """
    integers = (base, isousc, iinst, imax, papp, hchc, hchp)
    return struct.pack(
        ">BB12s4s7I4s",
        _TIC_DATA,
        _status(counter, low_battery, read_error),
        adco.encode("ascii"),
        optarif.encode("ascii"),
        *(_word(value) for value in integers),
        ptec.encode("ascii"),
    )


def tic_tri(
    adco: str,
    *,
    base: int | None,
    iinst: tuple[int | None, int | None, int | None],
    imax: tuple[int | None, int | None, int | None] = (60, 60, 60),
    pmax: int | None = None,
    papp: int | None = None,
    counter: int = 0,
    low_battery: bool = False,
    read_error: bool = False,
) -> bytes:
    """Frame 0x49 of a three-phase meter: index in Wh, currents in A, PMAX in W, power in VA."""
    return struct.pack(
        ">BB12s9I",
        _TIC_DATA,
        _status(counter, low_battery, read_error),
        adco.encode("ascii"),
        *(_word(value) for value in (base, *iinst, *imax, pmax, papp)),
    )


def tic_alarm(label: str, alarm: str, value: str, *, counter: int = 0) -> bytes:
    """Frame 0x4A: what happened to a label, by the decoder's names of the seven alarms."""
    kind = _ALARMS.index(alarm) + 1
    header = struct.pack(">BB10sB", _TIC_ALARM, _status(counter, False, False), label.encode("ascii"), kind)
    return header + value.encode("ascii")


def keep_alive(*, counter: int = 0, low_battery: bool = False) -> bytes:
    """Frame 0x30: the device is there and has nothing to say."""
    return bytes((_KEEP_ALIVE, _status(counter, low_battery, False)))
