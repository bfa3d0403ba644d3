"""Recognises which of the four layouts a catalogue, or a folder of one, has."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from decoders.catalogues import actility, chirpstack, milesight, ttn
from decoders.catalogues.files import Catalogue
from decoders.catalogues.model import ImportedCodec


class Reader(Protocol):
    """Every codec of a catalogue below a folder, with its device profiles when they are wanted."""

    def __call__(
        self, catalogue: Catalogue, within: str = "", *, profiles: bool = False
    ) -> Iterator[ImportedCodec]:
        """The codecs, in the order of their paths."""
        ...


@dataclass(frozen=True, slots=True)
class Layout:
    """A public catalogue's way to arrange its files."""

    name: str
    title: str
    recognises: Callable[[Catalogue], bool]
    read: Reader


# Layouts that names of files alone identify come first; Milesight's names are in other catalogues as well.
LAYOUTS = (
    Layout("actility", "Actility, device-catalog", actility.recognises, actility.read),
    Layout("chirpstack", "ChirpStack, device-profiles", chirpstack.recognises, chirpstack.read),
    Layout("ttn", "The Things Network, lorawan-devices", ttn.recognises, ttn.read),
    Layout("milesight", "Milesight, SensorDecoders", milesight.recognises, milesight.read),
)


def layout_of(catalogue: Catalogue) -> Layout | None:
    """The layout that its files have; None when it is none of these."""
    return next((layout for layout in LAYOUTS if layout.recognises(catalogue)), None)
