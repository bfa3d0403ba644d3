"""TLS for stations: our certificate, and theirs, whose common name is the gateway's EUI."""

import ssl
from asyncio import BaseTransport
from pathlib import Path
from typing import Any

from lorawan.gateway.basics_station import eui_of
from lorawan.identifiers import GatewayId


def server_context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """What we show, and with `client_ca`, which authority's certificates a gateway must show.

    Raises:
        OSError: a file cannot be read; ssl.SSLError when it is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def certified_gateway(transport: BaseTransport) -> GatewayId | None:
    """The EUI in the common name of the certificate that the peer showed; None without an EUI."""
    certificate: dict[str, Any] = transport.get_extra_info("peercert") or {}
    for names in certificate.get("subject", ()):
        for kind, name in names:
            if kind == "commonName":
                try:
                    return GatewayId(eui_of(name))
                except ValueError:
                    return None
    return None
