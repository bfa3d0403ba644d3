"""People: accounts, memberships of tenants, invitations, passwords and second factors."""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.runtime.postgres import Connection, Pool
from registry.rows import columns_of, fetch_all, fetch_one
from registry.vouching import vouched_value

TOKEN_OCTETS = 32
RECOVERY_CODES = 10
RECOVERY_CODE_OCTETS = 10
INVITATION_LASTS = timedelta(days=7)
RESET_LASTS = timedelta(hours=1)

LIST_MEMBERS = """
SELECT p.id, p.email, p.name, m.role, m.extra_rights, p.totp_confirmed_at IS NOT NULL AS has_totp,
       p.disabled_at IS NULL AS enabled, m.created_at, p.last_login_at
FROM membership m JOIN person p ON p.id = m.person_id
WHERE m.tenant_id = current_tenant() AND ($1::int IS NULL OR p.id = $1) ORDER BY p.id
"""
SET_ROLE = "UPDATE membership SET role = $2, extra_rights = $3 WHERE person_id = $1 RETURNING true"
REMOVE_MEMBER = "DELETE FROM membership WHERE person_id = $1 RETURNING true"
INVITE = """
INSERT INTO invitation (tenant_id, token_sha256, email, name, role, invited_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, now() + $7::interval)
RETURNING id, email, name, role, invited_by, created_at, expires_at, accepted_at
"""
LIST_INVITATIONS = """
SELECT id, email, name, role, invited_by, created_at, expires_at, accepted_at FROM invitation
WHERE accepted_at IS NULL AND expires_at > now() ORDER BY id
"""
WITHDRAW_INVITATION = "DELETE FROM invitation WHERE id = $1 AND accepted_at IS NULL RETURNING true"
ACCEPT_INVITATION = "SELECT accept_invitation($1, $2, $3, $4)"
SET_PASSWORD = "SELECT set_password($1, $2, $3)"  # noqa: S105
START_RESET_OF_MEMBER = "SELECT start_reset_of_member($1, $2, $3)"
START_RESET = "SELECT start_reset($1, $2, $3, $4)"
FIND_RESET = "SELECT find_reset($1)"
FINISH_RESET = "SELECT finish_reset($1, $2, $3)"
SET_TOTP = "SELECT set_totp($1, $2, $3)"
CONFIRM_TOTP = "SELECT confirm_totp($1, $2)"
DROP_TOTP = "SELECT drop_totp($1)"
SET_ENABLED = "SELECT set_person_enabled($1, $2)"
ENTER_PERSON = """
WITH made AS (INSERT INTO person (email, name, password_hash) VALUES ($1, $2, $3)
              ON CONFLICT (email) DO NOTHING RETURNING id)
INSERT INTO membership (person_id, tenant_id, role) SELECT id, $4, $5 FROM made RETURNING person_id
"""
ADD_MEMBER = """
INSERT INTO membership (person_id, tenant_id, role) SELECT id, $2, $3 FROM person WHERE email = $1
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Member:
    """A person in one tenant."""

    id: int
    email: str
    name: str
    role: str
    extra_rights: tuple[str, ...]
    has_totp: bool
    enabled: bool
    created_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class Invitation:
    """Somebody who may become a member, without the token that proves it."""

    id: int
    email: str
    name: str
    role: str
    invited_by: str
    created_at: datetime
    expires_at: datetime
    accepted_at: datetime | None


@dataclass(frozen=True, slots=True)
class OpenInvitation:
    """What the holder of an invitation's token may know of it."""

    id: int
    tenant_id: int
    tenant_slug: str
    tenant_name: str
    email: str
    name: str
    role: str
    expires_at: datetime
    accepted_at: datetime | None


FIND_INVITATION = f"SELECT {columns_of(OpenInvitation)} FROM find_invitation($1)"


def make_token() -> str:
    """A link's or a session's secret: 256 random bits."""
    return secrets.token_urlsafe(TOKEN_OCTETS)


def token_digest(token: str) -> bytes:
    """What is kept of a secret that was made at random: no dictionary has it, so a plain digest is enough."""
    return hashlib.sha256(token.encode()).digest()


def make_recovery_codes() -> list[str]:
    """Each stands once for a code of the telephone that was lost."""
    return [secrets.token_hex(RECOVERY_CODE_OCTETS) for _ in range(RECOVERY_CODES)]


def recovery_digest(code: str) -> bytes:
    """However it was typed: with spaces, hyphens, capitals."""
    return token_digest("".join(filter(str.isalnum, code)).lower())


async def list_members(connection: Connection, person_id: int | None = None) -> list[Member]:
    """Everybody of the tenant that was entered, or this person there."""
    return await fetch_all(connection, Member, LIST_MEMBERS, person_id)


async def find_member(connection: Connection, person_id: int) -> Member | None:
    """A person of the tenant that was entered."""
    return next(iter(await list_members(connection, person_id)), None)


async def set_role(connection: Connection, person_id: int, role: str, extra_rights: Sequence[str]) -> bool:
    """Give a member another role here, from the next request on; False: no such member."""
    return await connection.fetchval(SET_ROLE, person_id, role, list(extra_rights)) is True


async def remove_member(connection: Connection, person_id: int) -> bool:
    """End a membership; the account and its other memberships stay."""
    return await connection.fetchval(REMOVE_MEMBER, person_id) is True


async def invite(
    connection: Connection, tenant_id: int, email: str, name: str, role: str, invited_by: str
) -> tuple[Invitation, str]:
    """An invitation and its token, which is kept nowhere."""
    token = make_token()
    made = await fetch_one(
        connection,
        Invitation,
        INVITE,
        tenant_id,
        token_digest(token),
        email,
        name,
        role,
        invited_by,
        INVITATION_LASTS,
    )
    assert made is not None  # noqa: S101 - RETURNING of an INSERT of VALUES.
    return made, token


async def list_invitations(connection: Connection) -> list[Invitation]:
    """Those that can still be accepted."""
    return await fetch_all(connection, Invitation, LIST_INVITATIONS)


async def withdraw_invitation(connection: Connection, invitation_id: int) -> bool:
    """False: there is none of this number, or it was accepted."""
    return await connection.fetchval(WITHDRAW_INVITATION, invitation_id) is True


async def find_invitation(connection: Connection | Pool, token: str) -> OpenInvitation | None:
    """The invitation of this token, also one that is over."""
    return await fetch_one(connection, OpenInvitation, FIND_INVITATION, token_digest(token))


async def accept_invitation(
    connection: Connection | Pool, token: str, name: str, hashed: str | None, address: str
) -> int | None:
    """The person, who is now a member: by a new account with this hash, or without one by the account there is.

    None: it was accepted before, is over, or there is an account, or none, against what was thought.
    """
    return await vouched_value(connection, ACCEPT_INVITATION, token_digest(token), name, hashed, address)


async def set_password(
    connection: Connection | Pool, person_id: int, hashed: str, kept: bytes | None = None
) -> None:
    """A new password; it closes every session but the one of the digest `kept`."""
    await vouched_value(connection, SET_PASSWORD, person_id, hashed, kept)


async def start_reset_of_member(connection: Connection, person_id: int) -> str | None:
    """A token that sets a member's password once; None: not of this tenant alone."""
    token = make_token()
    started = await vouched_value(connection, START_RESET_OF_MEMBER, person_id, token_digest(token), RESET_LASTS)
    return token if started is True else None


async def start_reset(connection: Connection | Pool, email: str, address: str) -> tuple[int, str] | None:
    """The person and a token that sets their password once, to be sent to their own address; None: nobody."""
    token = make_token()
    person_id = await vouched_value(connection, START_RESET, email, token_digest(token), RESET_LASTS, address)
    return None if person_id is None else (person_id, token)


async def find_reset(connection: Connection | Pool, token: str) -> str | None:
    """The address of the account whose password this token sets; None: it is unknown, used, or over."""
    return await connection.fetchval(FIND_RESET, token_digest(token))


async def finish_reset(connection: Connection | Pool, token: str, hashed: str, address: str) -> int | None:
    """The person whose password was set; None: the token is unknown, used, or over."""
    return await vouched_value(connection, FINISH_RESET, token_digest(token), hashed, address)


def totp_owner(person_id: int) -> str:
    """For whom the secret of a second factor is sealed."""
    return f"person/{person_id}/totp"


async def set_totp(
    connection: Connection | Pool, person_id: int, wrapped: bytes | None, kek_id: str | None
) -> bool:
    """A second factor that is not confirmed yet; False: there is one that is."""
    return await vouched_value(connection, SET_TOTP, person_id, wrapped, kek_id) is True


async def confirm_totp(connection: Connection | Pool, person_id: int, codes: Sequence[str]) -> bool:
    """From now on a code is asked for at each login; False: nothing waits for confirmation."""
    digests = [recovery_digest(code) for code in codes]
    return await vouched_value(connection, CONFIRM_TOTP, person_id, digests) is True


async def drop_totp(connection: Connection | Pool, person_id: int) -> None:
    """The password alone from now on."""
    await vouched_value(connection, DROP_TOTP, person_id)


async def set_enabled(connection: Connection | Pool, person_id: int, *, enabled: bool) -> bool:
    """Open or close an account everywhere; False: no such person."""
    return await vouched_value(connection, SET_ENABLED, person_id, enabled) is True


async def enter_person(
    connection: Connection, tenant_id: int, email: str, name: str, hashed: str, role: str
) -> int | None:
    """An account that was decided elsewhere, an installation's first one for example; None: there was one."""
    return await connection.fetchval(ENTER_PERSON, email, name, hashed, tenant_id, role)


async def add_member(connection: Connection | Pool, email: str, tenant_id: int, role: str) -> None:
    """Make the person of this address a member, unless they are one."""
    await connection.execute(ADD_MEMBER, email, tenant_id, role)
