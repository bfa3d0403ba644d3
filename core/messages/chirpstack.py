# pyright: reportMissingTypeStubs=false
"""The messages of ChirpStack v4, as gateways and applications speak them: `gw`, `integration` and `common`.

Made at import from their descriptors, which `python -m lab.commands.chirpstack_messages` takes out of the
distribution chirpstack-api: that one brings gRPC and Google's authentication along, for message classes only. They
are in a pool of their own, so that a program may import chirpstack-api beside them.
"""

from importlib.resources import files
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message_factory import GetMessageClass

DESCRIPTORS = "chirpstack.binpb"


def load(octets: bytes) -> dict[str, Any]:
    """Its files by protobuf package: classes by name, enumerations with their values beside them.

    `octets` is a FileDescriptorSet in which each file comes after those it imports.
    """
    pool = DescriptorPool()
    kept = FileDescriptorSet.FromString(octets)
    for file in kept.file:
        pool.Add(file)
    return {file.package: _namespace(pool.FindFileByName(file.name)) for file in kept.file}


def _namespace(file: FileDescriptor) -> SimpleNamespace:
    found = SimpleNamespace()
    for name, message in file.message_types_by_name.items():
        setattr(found, name, GetMessageClass(message))
    for name, enumeration in file.enum_types_by_name.items():
        setattr(found, name, EnumTypeWrapper(enumeration))
        for value in enumeration.values:
            setattr(found, value.name, value.number)
    return found


if TYPE_CHECKING:
    from chirpstack_api import common, gw, integration
else:
    _packages = load(files("core.messages").joinpath(DESCRIPTORS).read_bytes())
    common, gw, integration = (_packages[name] for name in ("common", "gw", "integration"))

__all__ = ["common", "gw", "integration"]
