"""From an M-Bus telegram to its records in clear: link, extended link, authentication and transport layers.

EN 13757-3, -4 and -7. Every field of several octets is little-endian.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from decoders.canonical import MalformedPayload
from decoders.wmbus.crypto import CLEAR, Keys, decrypt_link_layer, decrypt_mode_5, decrypt_mode_7

SHORT_HEADER, LONG_HEADER, NO_HEADER = 0x7A, 0x72, 0x78
_WIRED_START, _WIRED_END, _WIRED_OVERHEAD = 0x68, 0x16, 6
_LINK_CONTROLS = (0x44, 0x46, 0x08, 0x48)  # SND-NR, SND-IR, RSP-UD, ACC-NR... what a meter says by itself.
_LINK_SIZE = 10  # Length, control, manufacturer, identification, version, medium.
_EXTENDED = {0x8C: 2, 0x8D: 8, 0x8E: 10, 0x8F: 16}  # Octets behind the CI of the extended link layer.
_AUTHENTICATION = 0x90
_WIRED_MINIMUM = 9
_MODE_5, _MODE_7 = 5, 7


@dataclass(frozen=True, slots=True)
class Address:
    """Of a meter: manufacturer, identification, version and medium, in the order of the link layer."""

    manufacturer: bytes
    identification: bytes
    version: int
    medium: int

    @property
    def octets(self) -> bytes:
        """The first half of the initialisation vector of mode 5."""
        return self.manufacturer + self.identification + bytes((self.version, self.medium))

    @property
    def transport_octets(self) -> bytes:
        """As the long header has it."""
        return self.identification + self.manufacturer + bytes((self.version, self.medium))

    @property
    def meter_id(self) -> str:
        """The eight digits on the meter."""
        return self.identification[::-1].hex()

    @property
    def manufacturer_code(self) -> str:
        """Three letters, each in five bits."""
        number = int.from_bytes(self.manufacturer, "little")
        return "".join(chr(64 + (number >> shift & 31)) for shift in (10, 5, 0))

    @classmethod
    def of_link(cls, octets: bytes) -> "Address":
        """As the link layer has it: manufacturer first."""
        return cls(octets[:2], octets[2:6], octets[6], octets[7])

    @classmethod
    def of_transport(cls, octets: bytes) -> "Address":
        """As the long header has it: identification first."""
        return cls(octets[4:6], octets[:4], octets[6], octets[7])


@dataclass(frozen=True, slots=True)
class Authentication:
    """What the authentication and fragmentation layer says: message counter and code."""

    control: bytes  # MCL
    counter: bytes  # MCR, four octets as transmitted
    code: bytes  # The truncated CMAC.


@dataclass(frozen=True, slots=True)
class Telegram:
    """Records in clear, and whose they are. `status` is None when no header said it."""

    records: bytes
    address: Address | None = None
    status: int | None = None
    access_number: int | None = None


def read_telegram(payload: bytes, options: Mapping[str, Any]) -> Telegram:
    """The telegram in these octets, wherever it begins: at its length, at wired M-Bus's 68, or at its CI.

    Options: `key` (AES-128, 32 hexadecimal digits), `keys` (by meter id), `address` (16 digits: manufacturer,
    identification, version and medium as they are in a link layer) where the radio says none.

    Raises:
        MalformedPayload: the octets are no telegram, or are encrypted and no key opens them.
    """
    keys = Keys.of(options)
    stated = options.get("address")
    address = _stated_address(stated) if stated is not None else None
    if len(payload) >= _WIRED_MINIMUM and payload[0] == payload[3] == _WIRED_START:
        return _read_transport(_wired(payload), address, keys)
    if len(payload) > _LINK_SIZE and payload[0] == len(payload) - 1 and payload[1] in _LINK_CONTROLS:
        return _read_transport(payload[_LINK_SIZE:], Address.of_link(payload[2:_LINK_SIZE]), keys)
    return _read_transport(payload, address, keys)


def _stated_address(stated: Any) -> Address:
    try:
        octets = bytes.fromhex(stated)
    except (TypeError, ValueError):
        octets = b""
    if len(octets) != _LINK_SIZE - 2:
        raise MalformedPayload("l'option « address » du profil a 16 chiffres hexadécimaux")
    return Address.of_link(octets)


def _wired(payload: bytes) -> bytes:
    """What is between the start of a wired frame, with its control and address, and its checksum."""
    size = payload[1]
    if size != payload[2] or len(payload) != size + _WIRED_OVERHEAD or payload[-1] != _WIRED_END:
        raise MalformedPayload(f"trame M-Bus filaire mal délimitée : {payload.hex()}")
    if sum(payload[4:-2]) & 0xFF != payload[-2]:
        raise MalformedPayload(f"somme de contrôle M-Bus fausse : {payload.hex()}")
    return payload[6:-2]


def _read_octets(octets: bytes, count: int, what: str) -> tuple[bytes, bytes]:
    if len(octets) < count:
        raise MalformedPayload(f"{what} a {count} octets, il en reste {len(octets)} : {octets.hex()}")
    return octets[:count], octets[count:]


def _read_transport(octets: bytes, address: Address | None, keys: Keys) -> Telegram:
    authentication: Authentication | None = None
    ci, rest = _read_octets(octets, 1, "un télégramme")
    if ci[0] in _EXTENDED:
        rest = _read_extended(ci[0], rest, address, keys)
        ci, rest = _read_octets(rest, 1, "l'en-tête de transport")
    if ci[0] == _AUTHENTICATION:
        authentication, rest = _read_authentication(rest)
        ci, rest = _read_octets(rest, 1, "l'en-tête de transport")
    if ci[0] == NO_HEADER:
        return Telegram(rest, address)
    if ci[0] == LONG_HEADER:
        head, rest = _read_octets(rest, 8, "l'en-tête long")
        address = Address.of_transport(head)
    elif ci[0] != SHORT_HEADER:
        raise MalformedPayload(
            f"CI {ci.hex()} : un télégramme a 72, 7a ou 78 (les trames compactes 79 demandent leur format) : "
            f"{octets.hex()}"
        )
    head, rest = _read_octets(rest, 4, "l'en-tête de transport")
    telegram = Telegram(rest, address, status=head[1], access_number=head[0])
    configuration = int.from_bytes(head[2:], "little")
    return _decrypt(telegram, ci + rest, head, configuration, authentication, address, keys)


def _read_extended(ci: int, octets: bytes, address: Address | None, keys: Keys) -> bytes:
    """What is behind the extended link layer; that of CI 8D and 8F may be encrypted, with a checksum inside."""
    head, rest = _read_octets(octets, _EXTENDED[ci], "la couche de liaison étendue")
    if ci in (0x8C, 0x8E):
        return rest
    session, sealed = head[-6:-2], head[-2:] + rest
    if session[3] >> 5:  # How it is encrypted is in the highest three bits of the session number.
        if address is None:
            raise MalformedPayload(f"couche de liaison chiffrée, sans l'adresse du compteur : {octets.hex()}")
        return decrypt_link_layer(sealed, address.octets + head[:1] + session, keys.of_meter(address.meter_id))
    return rest


def _read_authentication(octets: bytes) -> tuple[Authentication, bytes]:
    """The layer's fields are there by the bits of its control field; fragments are not put together."""
    size, rest = _read_octets(octets, 1, "la couche d'authentification")
    layer, rest = _read_octets(rest, size[0], "la couche d'authentification")
    control, layer = _read_octets(layer, 2, "la couche d'authentification")
    flags = control[1]
    if flags & 0x40:
        raise MalformedPayload(f"télégramme en plusieurs fragments, qui n'est pas lu : {octets.hex()}")
    message_control, layer = _read_octets(layer, 1 if flags & 0x20 else 0, "le contrôle du message")
    _, layer = _read_octets(layer, 2 if flags & 0x02 else 0, "l'information de clé")
    counter, layer = _read_octets(layer, 4 if flags & 0x08 else 0, "le compteur de messages")
    length = 2 if flags & 0x10 else 0
    code = layer[: len(layer) - length] if flags & 0x04 else b""
    return Authentication(message_control, counter, code), rest


def _decrypt(
    telegram: Telegram,
    sealed: bytes,
    head: bytes,
    configuration: int,
    authentication: Authentication | None,
    address: Address | None,
    keys: Keys,
) -> Telegram:
    """The telegram in clear; `sealed` is its CI and all behind `head`, the last four octets of the header."""
    mode, blocks = configuration >> 8 & 0x1F, configuration >> 4 & 0x0F
    if mode not in (0, _MODE_5, _MODE_7):
        raise MalformedPayload(f"chiffrement {mode} : seuls 5 et 7 sont lus")
    extension, body = _read_octets(
        telegram.records, 1 if mode == _MODE_7 else 0, "l'extension du champ de configuration"
    )
    if mode == 0 or not blocks:
        return replace(telegram, records=body)
    if body.startswith(CLEAR) and (address is None or not keys.has(address.meter_id)):
        return replace(telegram, records=body)  # Somebody on the way has opened it.
    if address is None:
        raise MalformedPayload(
            "télégramme chiffré, sans l'adresse du compteur : la donner par l'option « address » du profil"
        )
    key = keys.of_meter(address.meter_id)
    if mode == _MODE_5:
        return replace(telegram, records=decrypt_mode_5(body, blocks, address.octets, head[0], key))
    if authentication is None or not authentication.counter:
        raise MalformedPayload("chiffrement 7 sans compteur de messages : la clé ne peut pas être dérivée")
    whose = address.transport_octets if sealed[0] == LONG_HEADER else b""
    signed = authentication.control + authentication.counter + sealed[:1] + whose + head + extension + body
    counter, code = authentication.counter, authentication.code
    return replace(
        telegram, records=decrypt_mode_7(body, blocks, address.identification, counter, signed, code, key)
    )
