"""Six digits every thirty seconds (RFC 6238), from a telephone."""

import hmac
import secrets
from base64 import b32encode

STEP_S = 30
SECRET_OCTETS = 20
ISSUER = "Territoire"
# A telephone whose clock is off by less than a step.
DRIFTS = (0, -1, 1)


def make_secret() -> str:
    """In base 32, as the applications of telephones take it."""
    return b32encode(secrets.token_bytes(SECRET_OCTETS)).decode()


def uri_of(secret: str, email: str) -> str:
    """What a QR code shows."""
    from pyotp.totp import TOTP  # noqa: PLC0415 - Few processes ever see a login.

    return TOTP(secret, interval=STEP_S).provisioning_uri(name=email, issuer_name=ISSUER)


def matching_step(secret: str, code: str, now_s: float) -> int | None:
    """The step whose code this is, at most one from now; None: none is."""
    from pyotp.totp import TOTP  # noqa: PLC0415

    current, totp = int(now_s) // STEP_S, TOTP(secret, interval=STEP_S)
    typed = "".join(filter(str.isalnum, code)).encode()
    for drift in DRIFTS:
        step = current + drift
        if hmac.compare_digest(totp.at(step * STEP_S).encode(), typed):
            return step
    return None
