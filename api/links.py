"""Links with a token behind the `#`, which no log and no Referer holds; by e-mail where there is a server."""

from dataclasses import dataclass

import structlog

from alerting.mail import MailRejected
from api.dependencies import Dependencies

SEND_WITHIN_S = 10.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LinkKind:
    """What a link is for."""

    path: str
    subject: str
    text: str


INVITATION = LinkKind(
    "invitation",
    "Territoire : invitation",
    "Vous êtes invité à rejoindre la plateforme du territoire connecté. Pour accepter, dans les sept jours :",
)
RESET = LinkKind(
    "reset",
    "Territoire : nouveau mot de passe",
    "Pour choisir un nouveau mot de passe, dans l'heure (si vous n'avez rien demandé, ne faites rien) :",
)


def link_of(dependencies: Dependencies, kind: LinkKind, token: str) -> str:
    """The link; without the installation's address its path alone."""
    return f"{dependencies.access.public_url.rstrip('/')}/{kind.path}#{token}"


async def send_link(dependencies: Dependencies, email: str, kind: LinkKind, token: str) -> bool:
    """Whether the mail server has taken it; False also without one."""
    mailer = dependencies.access.mailer
    if mailer is None:
        return False
    try:
        await mailer.send_text(
            email, kind.subject, f"{kind.text}\n\n{link_of(dependencies, kind, token)}\n", SEND_WITHIN_S
        )
    except MailRejected as rejected:
        log.warning("link_not_sent", kind=kind.path, error=str(rejected))
        return False
    return True
