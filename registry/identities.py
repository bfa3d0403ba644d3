"""People who come by a provider of identities: an issuer and its subject, never an e-mail address alone."""

from dataclasses import dataclass

from core.runtime.postgres import Connection, Pool
from registry.people import token_digest
from registry.rows import fetch_one
from registry.vouching import vouched, vouched_value

FIND = "SELECT person_id, name FROM find_identity($1, $2)"
LINK = "SELECT link_identity($1, $2, $3)"
ACCEPT = "SELECT accept_invitation_by_identity($1, $2, $3, $4)"


@dataclass(frozen=True, slots=True)
class Identified:
    """The account that an identity opens."""

    person_id: int
    name: str


async def find_identity(connection: Connection | Pool, issuer: str, subject: str) -> Identified | None:
    """The account of this identity; None: none that is open."""
    async with vouched(connection) as own:
        return await fetch_one(own, Identified, FIND, issuer, subject)


async def link_identity(connection: Connection | Pool, person_id: int, issuer: str, subject: str) -> bool:
    """Let the identity open the account; False: it opens one already."""
    return await vouched_value(connection, LINK, person_id, issuer, subject) is True


async def accept_invitation(
    connection: Connection | Pool, token: str, issuer: str, subject: str, address: str
) -> int | None:
    """A new account of the invitation's address, opened by this identity; None: there is one, or it is over."""
    return await vouched_value(connection, ACCEPT, token_digest(token), issuer, subject, address)
