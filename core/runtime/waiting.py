"""What this process waits for: said once for each reason there is, and every half minute meanwhile."""

import errno
import socket
import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog

from core.runtime.errors import describe, system_reason

SAID_AGAIN_AFTER_S = 30.0
# OpenSSL's words (X509_verify_cert_error_string) that an operator can do something about.
CERTIFICATE_REFUSALS = (
    ("expired", "il a expiré"),
    ("not yet valid", "il n'est pas encore valable : l'horloge de cette machine ?"),
    ("mismatch", "il est fait pour un autre nom de machine"),
    ("not valid for", "il est fait pour un autre nom de machine"),
    ("self-signed", "son autorité n'est pas celle que l'adresse nomme (ca=…, sslrootcert=…)"),
    ("unable to get", "son autorité n'est pas celle que l'adresse nomme (ca=…, sslrootcert=…)"),
)

log = structlog.get_logger()

_waits: list["Waiting"] = []


@dataclass(slots=True, eq=False)
class Waiting:
    """One dependency, `what` in French and `address` without its password; it is away from `failed` to `over`."""

    event: str
    what: str
    address: str
    holds_start: bool = False
    """Whether the process can do nothing before it is there for the first time."""
    reason: str = ""
    _since: float = 0.0
    _since_utc: datetime = field(default_factory=lambda: datetime.now(UTC))
    _said_at: float = 0.0
    _notified: set[str] = field(default_factory=set[str])
    """The reasons that were said of this wait: two may take turns with every attempt."""

    def failed(self, reason: str, error: BaseException | str, next_try_s: float) -> None:
        """An attempt did not succeed. `reason` is the French text for operators, `error` is the driver's own."""
        now = time.monotonic()
        if self not in _waits:
            _waits.append(self)
            self._since, self._since_utc = now, datetime.now(UTC)
            self._notified.clear()
        self.reason = reason
        if reason in self._notified and now - self._said_at < SAID_AGAIN_AFTER_S:
            return
        self._said_at = now
        self._notified.add(reason)
        log.warning(
            self.event,
            address=self.address,
            error=describe(error),
            since=self._since_utc.isoformat(timespec="seconds"),
            waited_s=round(now - self._since),
            next_try_s=round(next_try_s, 1),
            message=f"{self.french} ; nouvel essai dans {next_try_s:.1f} s",
        )

    def over(self) -> None:
        """It is there."""
        self.holds_start = False
        if self in _waits:
            _waits.remove(self)
            self.reason = ""
            waited = round(time.monotonic() - self._since)
            log.info("waited_for_is_there", address=self.address, waited_s=waited, message=f"{self.what} répond")

    def given_up(self) -> None:
        """Nobody waits any more, and it is not there."""
        if self in _waits:
            _waits.remove(self)

    @property
    def french(self) -> str:
        """What is waited for, where, why and since when."""
        since = f"{self._since_utc:%d/%m à %H:%M:%S} UTC"
        return f"{self.what} ({self.address}) : {self.reason} ; attente depuis le {since}"


class Unsaid(Waiting):
    """Of a second connection: the first one says that it waits for the same, and why."""

    def failed(self, reason: str, error: BaseException | str, next_try_s: float) -> None:  # noqa: ARG002 - As above.
        """Nobody is told."""
        self.reason = reason


def what_is_waited_for() -> list[str]:
    """In French, by dependency; empty when this process waits for none."""
    return [waiting.french for waiting in _waits]


def start_is_held() -> bool:
    """Whether this process has not begun yet, for want of something: then there is nothing to drain."""
    return any(waiting.holds_start for waiting in _waits)


def network_reason(error: BaseException) -> str:
    """Why there is no connection, in French."""
    match error:
        case ssl.SSLError():
            return _tls_reason(error)
        case socket.gaierror():
            return "ce nom de machine est inconnu"
        case FileNotFoundError():
            return "le fichier de son autorité (ca=…, sslrootcert=…) n'existe pas"
        case TimeoutError():
            return "pas de réponse"
        case OSError():
            # With several addresses the loop raises an OSError that has no errno, but a text.
            several = "Connect call failed" in describe(error)
            return system_reason(OSError(errno.ECONNREFUSED, "") if several else error)
        case _:
            return describe(error)


def _tls_reason(error: ssl.SSLError) -> str:
    if not isinstance(error, ssl.SSLCertVerificationError):
        return f"la connexion TLS échoue ({error.reason or error}) : TLS des deux côtés, ou d'aucun ?"
    text = error.verify_message or str(error)
    why = next((french for word, french in CERTIFICATE_REFUSALS if word in text.lower()), text)
    return f"son certificat est refusé : {why}"
