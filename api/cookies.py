"""The session's cookie, and the token that proves that a change comes from our own page and not from another's."""

import hashlib
import hmac
from ipaddress import ip_address

from fastapi import Request, Response

from registry.sessions import SESSION_LASTS

# Browsers keep one of this prefix to this very host, over TLS.
COOKIE = "__Host-territoire"
LOOPBACK_COOKIE = "territoire"
CSRF_HEADER = "X-CSRF-Token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def is_plain_loopback(request: Request) -> bool:
    """Whether this is HTTP on one's own machine, where no certificate is; TLS ends in front of us otherwise."""
    forwarded = request.headers.get("x-forwarded-proto", request.url.scheme)
    return forwarded == "http" and _is_loopback(request.url.hostname)


def session_token(request: Request) -> str | None:
    """The token of the request's cookie."""
    return request.cookies.get(LOOPBACK_COOKIE if is_plain_loopback(request) else COOKIE)


def set_cookie(request: Request, response: Response, token: str) -> None:
    """Give the browser the session."""
    plain = is_plain_loopback(request)
    response.set_cookie(
        LOOPBACK_COOKIE if plain else COOKIE,
        token,
        max_age=int(SESSION_LASTS.total_seconds()),
        path="/",
        secure=not plain,
        httponly=True,
        samesite="lax",
    )


def delete_cookie(request: Request, response: Response) -> None:
    """Take the session from the browser."""
    plain = is_plain_loopback(request)
    name = LOOPBACK_COOKIE if plain else COOKIE
    response.delete_cookie(name, path="/", secure=not plain, httponly=True, samesite="lax")


def csrf_token(token: str) -> str:
    """What a page of ours sends back with each change; who has not the cookie's content cannot make it."""
    return hmac.new(token.encode(), b"csrf", hashlib.sha256).hexdigest()


def has_csrf_token(request: Request, token: str) -> bool:
    """Whether the change comes from a page of ours, or the request changes nothing."""
    if request.method in SAFE_METHODS:
        return True
    return hmac.compare_digest(request.headers.get(CSRF_HEADER, "").encode(), csrf_token(token).encode())
