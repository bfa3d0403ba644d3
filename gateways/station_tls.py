"""TLS for stations: our certificate, and theirs, which names the gateway by its EUI."""

import ssl
from asyncio import BaseTransport
from pathlib import Path
from typing import Any

import structlog

from gateways.settings import FrontendSettings
from lorawan.gateway.basics_station import eui_of
from lorawan.identifiers import GatewayId

RENEWED_EVERY_S = 5.0

log = structlog.get_logger()


def _context(certificate: Path, key: Path, client_ca: Path | None, crl: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        # Optional: a station without one may have a token. One of another authority ends the handshake.
        context.verify_mode = ssl.CERT_OPTIONAL
    if crl is not None:
        context.load_verify_locations(crl)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


class RenewedContext:
    """What we show, and which authority's certificates a gateway may show; read again when a file changes.

    `outer` is the context to listen with. It hands each connection over to the newest, as soon as its first
    message is read.
    """

    def __init__(self, certificate: Path, key: Path, client_ca: Path | None, crl: Path | None) -> None:
        """Raises OSError when a file cannot be read, ssl.SSLError when it is not what it should be."""
        self._files = (certificate, key, client_ca, crl)
        self._stamps = self._stamped()
        self.outer = self._newest = _context(*self._files)
        self.outer.sni_callback = self._hand_over

    def _hand_over(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _outer: ssl.SSLContext
    ) -> None:
        connection.context = self._newest

    def _stamped(self) -> list[tuple[int, int, int]]:
        stats = [file.stat() for file in self._files if file is not None]
        return [(stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats]

    def renew(self) -> bool:
        """Read the files again when one of them changed; whether one did and all could be read."""
        try:
            stamps = self._stamped()
            if stamps == self._stamps:
                return False
            self._newest = _context(*self._files)
        except (OSError, ValueError) as unreadable:  # Half of it is written: the former stays good.
            log.warning("station_certificates_unreadable", error=str(unreadable))
            return False
        self._stamps = stamps
        log.info("station_certificates_read")
        return True


def station_context(settings: FrontendSettings) -> RenewedContext | None:
    """What stations are shown and must show; None without a certificate of ours: then they come without TLS.

    Raises:
        OSError: a file cannot be read, or is not what it should be.
    """
    if settings.station_certificate is None or settings.station_key is None:
        return None
    return RenewedContext(
        settings.station_certificate, settings.station_key, settings.station_client_ca, settings.station_crl
    )


def has_certificate(transport: BaseTransport) -> bool:
    """Whether the peer showed a certificate of our authority."""
    return bool(transport.get_extra_info("peercert"))


def certified_gateway(transport: BaseTransport) -> GatewayId | None:
    """The gateway that the peer's certificate names; None where it names none, or several.

    It is in its alternative names (dNSName or URI), which hold before a common name, or else in that.
    """
    certificate: dict[str, Any] = transport.get_extra_info("peercert") or {}
    alternatives = [name for kind, name in certificate.get("subjectAltName", ()) if kind in {"DNS", "URI"}]
    common = [name for names in certificate.get("subject", ()) for kind, name in names if kind == "commonName"]
    for named in (alternatives, common):
        euis = {eui for eui in map(_eui_in, named) if eui is not None}
        if euis:
            return euis.pop() if len(euis) == 1 else None
    return None


def _eui_in(name: str) -> GatewayId | None:
    """The EUI that is the name, the first label of a host's name, or the last part of a URI."""
    for text in (name, name.partition(".")[0], name.rpartition("/")[2], name.rpartition(":")[2]):
        try:
            return GatewayId(eui_of(text))
        except ValueError:
            continue
    return None
