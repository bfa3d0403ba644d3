"""Whom our clients believe, by handshakes with the standard library's server, as by Python 3.13."""

import ast
import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from core.runtime.tls import client_tls

CHECKOUT = Path(__file__).resolve().parents[3]
PACKAGES = (
    "core", "registry", "gateways", "network", "integrations", "ingest", "alerting", "lighting", "indicators",
    "api", "services", "cli",
)  # fmt: skip
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Autorité de la ville")])
create_default_context = ssl.create_default_context


@pytest.fixture(autouse=True)
def strict_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_python_3_13(*args: object, **kwargs: object) -> ssl.SSLContext:
        context = create_default_context(*args, **kwargs)  # pyright: ignore[reportArgumentType]
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        return context

    monkeypatch.setattr(ssl, "create_default_context", of_python_3_13)


class TownsAuthority:
    """As `openssl req -x509` makes one whose configuration names no use of its key."""

    def __init__(self, folder: Path, *, is_ca: bool = True) -> None:
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.file = folder / "ca.pem"
        constraints = x509.BasicConstraints(ca=is_ca, path_length=None)
        built = self._begun(NAME, self.key.public_key(), timedelta(days=1)).add_extension(
            constraints, critical=True
        )
        self.file.write_bytes(built.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def _begun(self, name: x509.Name, key: ec.EllipticCurvePublicKey, lives: timedelta) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        begun = x509.CertificateBuilder().subject_name(name).issuer_name(NAME).public_key(key)
        begun = begun.serial_number(x509.random_serial_number())
        return begun.not_valid_before(now - timedelta(days=2)).not_valid_after(now + lives)

    def server(self, host: x509.GeneralName, lives: timedelta = timedelta(days=1)) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "serveur")])
        built = self._begun(name, key.public_key(), lives).add_extension(
            x509.SubjectAlternativeName([host]), critical=False
        )
        pem = built.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)
        file = self.folder / "server.pem"
        file.write_bytes(pem + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


@asynccontextmanager
async def serving(context: ssl.SSLContext) -> AsyncGenerator[int]:
    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(close, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def connect(port: int, context: ssl.SSLContext) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


HERE = x509.IPAddress(IPv4Address("127.0.0.1"))


async def test_a_town_s_own_authority_is_believed_as_by_python_3_11(tmp_path: Path) -> None:
    town = TownsAuthority(tmp_path)
    async with serving(town.server(HERE)) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(port, ssl.create_default_context(cafile=town.file))  # As the standard library would.

        await connect(port, client_tls(town.file))


@pytest.mark.parametrize("wrong", ["name", "date", "authority", "no authority"])
async def test_what_makes_a_certificate_one_is_still_demanded(tmp_path: Path, wrong: str) -> None:
    other = tmp_path / "other"
    other.mkdir()
    town = TownsAuthority(tmp_path, is_ca=wrong != "no authority")
    host = x509.DNSName("ailleurs.example") if wrong == "name" else HERE
    lives = timedelta(days=-1) if wrong == "date" else timedelta(days=1)
    believed = TownsAuthority(other).file if wrong == "authority" else town.file

    async with serving(town.server(host, lives)) as port:
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(port, client_tls(believed))


def test_no_other_place_makes_a_client_s_context() -> None:
    """httpx, aiosmtplib and asyncio make one of their own where none is given."""
    makers = {"httpx.AsyncClient", "httpx.Client", "AsyncOAuth2Client", "aiosmtplib.send"}
    found: list[tuple[str, str]] = []
    for file in (file for package in PACKAGES for file in sorted((CHECKOUT / package).rglob("*.py"))):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called, named = ast.unparse(node.func), {one.arg for one in node.keywords}
            is_given = named & {"verify", "transport", "tls_context"}
            if called.endswith("create_default_context") or (called in makers and not is_given):
                found.append((str(file.relative_to(CHECKOUT)), called))

    assert found == [
        ("core/runtime/tls.py", "ssl.create_default_context"),
        ("cli/report.py", "httpx.AsyncClient"),  # It asks the loopback, without TLS.
    ]
