# pyright: reportMissingTypeStubs=false
"""`python -m lab.commands.chirpstack_messages`: takes ChirpStack's messages out of chirpstack-api.

Run it after a new version of chirpstack-api is locked; a test compares what is kept with what is installed.
"""

from pathlib import Path

from chirpstack_api.gw import gw_pb2
from chirpstack_api.integration import integration_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

KEPT = Path(__file__).resolve().parents[2] / "core" / "messages" / "chirpstack.binpb"
THEIRS, OURS = "chirpstack-api/", "territoire/chirpstack/"


def descriptors() -> bytes:
    """A FileDescriptorSet of the messages and of all that they import, under file names of our own."""
    found: dict[str, FileDescriptorProto] = {}
    for file in (gw_pb2.DESCRIPTOR, integration_pb2.DESCRIPTOR):
        _collect(file, found)
    return FileDescriptorSet(file=found.values()).SerializeToString(deterministic=True)


def _collect(file: FileDescriptor, found: dict[str, FileDescriptorProto]) -> None:
    if file.name in found:
        return
    for imported in file.dependencies:
        _collect(imported, found)
    kept = FileDescriptorProto()
    file.CopyToProto(kept)
    kept.ClearField("options")  # Names of packages in other languages.
    kept.name = kept.name.replace(THEIRS, OURS)
    kept.dependency[:] = [name.replace(THEIRS, OURS) for name in kept.dependency]
    found[file.name] = kept


if __name__ == "__main__":
    KEPT.write_bytes(descriptors())
