"""Watteco's codecs: one reader of frames, and a table for each product."""

from collections.abc import Mapping
from typing import Any

from decoders.canonical import Decoded, MalformedPayload, Reading
from decoders.codec import Codec, Decode, Encode, EncodedCommand, UnsupportedCommand
from decoders.commands import encoder
from decoders.pulses import add_volumes
from decoders.watteco.batch import read_batch
from decoders.watteco.commands import commands_of, proof_of
from decoders.watteco.frame import F_PORT
from decoders.watteco.products import PRODUCTS, Product
from decoders.watteco.standard import decode_standard

_VERSION = 2
_UNKNOWN_PRODUCT = Product("")


def decoder_of(product: Product | None) -> Decode:
    """The decoder of a product; without one, of the product that the profile option `product` names.

    Standard frames describe themselves and need no product. Option `litres_per_pulse` is that of
    `decoders.pulses`; endpoint 0 is channel `""`, endpoint 1 `"1"`.
    """

    def decode(f_port: int, payload: bytes, time_us: int, options: Mapping[str, Any]) -> Decoded:
        model = product or _product_of(options)
        if payload and not payload[0] & 0x01:
            decoded = _decode_batch(model, f_port, payload, time_us)
        else:
            decoded = decode_standard(f_port, payload, time_us, options)
            if model is not None and model.meanings:
                _give_meaning(model, decoded)
        add_volumes(options, decoded)
        return decoded

    return decode


def _product_of(options: Mapping[str, Any]) -> Product | None:
    name = options.get("product")
    if name is None:
        return None
    if not isinstance(name, str) or name not in PRODUCTS:
        raise MalformedPayload(
            f"produit Watteco inconnu dans le profil : {name!r} (connus : {', '.join(PRODUCTS)})"
        )
    return PRODUCTS[name]


def _decode_batch(product: Product | None, f_port: int, payload: bytes, time_us: int) -> Decoded:
    if f_port != F_PORT:
        raise MalformedPayload(f"f_port {f_port} : les trames Watteco arrivent sur {F_PORT}")
    if product is None:
        raise MalformedPayload(
            "une trame batch ne se décrit pas elle-même : le profil doit nommer le produit (option « product »)"
        )
    if product.batch is None:
        raise MalformedPayload(f"la composition des trames batch de ce produit n'est pas connue ({product.title})")
    decoded = Decoded()
    read_batch(product.batch, payload, time_us, decoded)
    return decoded


def _give_meaning(product: Product, decoded: Decoded) -> None:
    """Rename the reading of an endpoint by what the product measures there."""
    report = decoded.data["report"]
    key = (int(report["cluster"], 16), int(report["attribute"], 16), report["endpoint"])
    meaning = product.meanings.get(key)
    if meaning is not None:
        decoded.readings = [
            Reading(reading.time_us, meaning.channel, meaning.quantity, reading.value / meaning.divisor)
            for reading in decoded.readings
        ]


def _codec(name: str, product: Product, decode: Decode) -> Codec:
    commands = commands_of(product, pilot_wire=name == "watteco.smartpilot_wire")
    encode = encoder(f"Le capteur Watteco {product.title}".rstrip(), commands)
    return Codec(name, _VERSION, decode, encode, commands, product.ranges, proof_of(product))


def _without_dimmer(encode: Encode) -> Encode:
    def encode_or_say_why(name: str, parameters: Mapping[str, Any]) -> EncodedCommand:
        if name == "dim":
            raise UnsupportedCommand(
                "Gradation impossible : le Triphas'O commande un relais tout ou rien, il n'a pas de gradateur."
            )
        return encode(name, parameters)

    return encode_or_say_why


def _triphaso() -> Codec:
    product = PRODUCTS["triphaso"]
    commands = commands_of(product)
    encode = _without_dimmer(encoder(f"Le capteur Watteco {product.title}".rstrip(), commands))
    return Codec("watteco.triphaso", _VERSION, decoder_of(product), encode, commands, proof=proof_of(product))


STANDARD = _codec("watteco.standard", _UNKNOWN_PRODUCT, decoder_of(None))
PULSE = _codec("watteco.pulse", _UNKNOWN_PRODUCT, decoder_of(None))
TIC = _codec("watteco.tic", PRODUCTS["ticso"], decoder_of(PRODUCTS["ticso"]))
TRIPHASO = _triphaso()
# One for each product, beside those that the first profiles name.
WATTECO_CODECS = (
    *(STANDARD, PULSE, TIC, TRIPHASO),
    *(
        _codec(f"watteco.{name}", product, decoder_of(product))
        for name, product in PRODUCTS.items()
        if name not in ("ticso", "triphaso")
    ),
)
