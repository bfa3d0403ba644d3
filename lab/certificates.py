"""An authority for tests and faults, and the certificates that it signs."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


def _named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


class Authority:
    """Writes its certificate, and others, into a folder."""

    def __init__(self, folder: Path, name: str = "Autorité des passerelles") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        self.certificate = self._write(name, self._certificate(self._name, self._key.public_key(), is_ca=True))

    def _certificate(
        self,
        name: x509.Name,
        key: ec.EllipticCurvePublicKey,
        *,
        is_ca: bool = False,
        lives: timedelta = timedelta(days=1),
    ) -> bytes:
        now = datetime.now(UTC)
        built = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + lives)
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )
        if is_ca:
            usage = x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=True,
                crl_sign=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            )
            built = built.add_extension(usage, critical=True)
        else:
            reached = [x509.IPAddress(IPv4Address("127.0.0.1")), x509.DNSName("localhost")]
            names = x509.SubjectAlternativeName(reached)
            built = built.add_extension(names, critical=False)
        return built.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def _write(self, name: str, octets: bytes) -> Path:
        path = self._folder / f"{name}.pem"
        fresh = path.with_suffix(".new")
        fresh.write_bytes(octets)
        return fresh.rename(path)

    def revoke(self, *certificates: Path) -> Path:
        """The revocation list with these certificates."""
        now = datetime.now(UTC)
        listed = x509.CertificateRevocationListBuilder().issuer_name(self._name)
        listed = listed.last_update(now - timedelta(hours=1)).next_update(now + timedelta(days=1))
        for certificate in certificates:
            serial = x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now).build()
            listed = listed.add_revoked_certificate(revoked)
        return self._write("revoked", listed.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    @property
    def trusting(self) -> ssl.SSLContext:
        """Of a client that believes this authority alone."""
        return ssl.create_default_context(cafile=self.certificate)

    def sign(self, common_name: str, lives: timedelta = timedelta(days=1)) -> tuple[Path, Path]:
        """A certificate that is valid for so long, and its key; those of this name before are replaced."""
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return (
            self._write(
                f"{common_name} certificate", self._certificate(_named(common_name), key.public_key(), lives=lives)
            ),
            self._write(f"{common_name} key", private),
        )
