"""From where a request comes, behind proxies that are listed what they say, and what it presents."""

from collections.abc import Sequence

from fastapi import Request

from core.runtime.http.origin import Network, address_of, client_address

UNKNOWN = "?"


def origin_of(request: Request, proxies: Sequence[Network]) -> str:
    """The address of the client; UNKNOWN where the connection has none."""
    if request.client is None or address_of(request.client.host) is None:
        return UNKNOWN
    return client_address(request.client.host, request.headers.getlist("x-forwarded-for"), proxies)


def bearer_of(request: Request) -> str | None:
    """The key or token that it presents; None: it presents none."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    return text.strip() if scheme.lower() == "bearer" else None
