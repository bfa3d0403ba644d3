"""Devices whose frames a vendor's script reads: what the script is asked, and what its answer says. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from core.model.uplink_reasons import UplinkReason
from decoders.canonical import Decoded
from decoders.codec import Codec
from decoders.javascript.calls import Answer, Call, Script
from decoders.javascript.inputs import uplink_input
from decoders.mapping import Mapping as FieldMapping
from decoders.mapping import apply


def script_key(tenant_id: int, version_id: int, sha256: bytes) -> str:
    """Names a script's context: no two tenants share one, nor two versions."""
    return f"{tenant_id}/{version_id}/{sha256.hex()}"


def version_of(key: str) -> int:
    """The version in a `script_key`."""
    return int(key.split("/")[1])


class FrameWaits(Exception):
    """Nobody can read the frame at present, and nothing is wrong with it: it is to be decoded again."""

    def __init__(self, reason: UplinkReason) -> None:
        super().__init__(reason)
        self.reason = reason


class ScriptFailed(Exception):
    """The script rejected the frame or failed on it; the message is French. `said` is its output all the same."""

    def __init__(self, reason: str, said: Decoded | None = None) -> None:
        super().__init__(reason)
        self.said = said


@dataclass(frozen=True, slots=True)
class VendorCodec:
    """A version of a vendor's codec as the devices of one profile and tenant use it.

    `suspended` says why it may not run; None: it may.
    """

    version_id: int
    name: str
    version: int
    script: Script
    mapping: FieldMapping
    suspended: str | None = None

    def decode(self, _f_port: int, _payload: bytes, _time_us: int, _options: Mapping[str, Any]) -> Decoded:
        """In the place of `Codec.decode`, when there is no answer of the script: the frame waits."""
        raise FrameWaits(UplinkReason.NO_WORKERS if self.suspended is None else UplinkReason.CODEC_SUSPENDED)

    def call(
        self, f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any], dev_eui: bytes, name: str
    ) -> Call:
        """What the script is asked about one uplink."""
        given = uplink_input(f_port, payload, time_us, dev_eui=dev_eui.hex(), device_name=name, variables=options)
        return Call(self.script, "decodeUplink", given)

    def read(self, answer: Answer, time_us: int) -> Decoded:
        """What the script's answer says in canonical terms.

        Raises:
            ScriptFailed: it failed, or says itself that the frame has errors.
        """
        if answer.failure is not None:
            raise ScriptFailed(answer.reason)
        data = None if answer.output is None else answer.output.get("data")
        if answer.errors:
            said = Decoded(data=cast("dict[str, Any]", data) if isinstance(data, dict) else {"data": data})
            said.warnings = answer.warnings
            raise ScriptFailed(" ; ".join(answer.errors), said)
        decoded = Decoded() if data is None else apply(self.mapping, data, time_us)
        decoded.warnings[:0] = answer.warnings
        return decoded


AnyCodec = Codec | VendorCodec
