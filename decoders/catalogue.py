"""Every native codec by name: one line registers a codec for the device profiles that name it."""

from decoders.adeunis import tic as adeunis_tic
from decoders.codec import Codec
from decoders.watteco import codecs as watteco

CODECS: dict[str, Codec] = {
    codec.name: codec
    for codec in (
        adeunis_tic.CODEC,
        watteco.PULSE,
        watteco.STANDARD,
        watteco.TIC,
        watteco.TRIPHASO,
    )
}
