"""Keys, signatures and certificates of stations, checked before they are sent to hundreds of them."""

from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from cryptography.x509 import load_pem_x509_certificates

from lorawan.gateway.cups import is_trust


class NotUsable(ValueError):
    """What was given is of no use to a station; the message, in French, says why."""


def verified_key(pem: str, signature: bytes, content: bytes) -> bytes:
    """The octets of a station's `sig-N.key`, x and y of a point of P-256, when its signature is over the content.

    Raises:
        NotUsable: it is no such key, or not its signature.
    """
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise NotUsable("clé publique ECDSA P-256 en PEM attendue")
    try:
        key.verify(signature, content, ECDSA(SHA512()))
    except InvalidSignature:
        raise NotUsable("ce n'est pas la signature de ce fichier par cette clé") from None
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]


def trust_of(pem: str) -> bytes:
    """The one certificate that a station is to trust, as it keeps it.

    Raises:
        NotUsable: it is none, several, or one that is over or that a station cannot read.
    """
    try:
        certificates = load_pem_x509_certificates(pem.encode())
    except ValueError:
        certificates = []
    if len(certificates) != 1:
        raise NotUsable("un seul certificat en PEM attendu : celui de l'autorité du serveur")
    der = certificates[0].public_bytes(Encoding.DER)
    if certificates[0].not_valid_after_utc <= datetime.now(UTC):
        raise NotUsable("ce certificat est périmé : aucune station ne se connecterait plus")
    if not is_trust(der):
        raise NotUsable("une station ne sait pas lire ce certificat : trop court ou trop long")
    return der
