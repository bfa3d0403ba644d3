"""Logins of people, and the sessions that they open."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from core.runtime.postgres import Connection, Pool
from registry.people import make_token, recovery_digest, token_digest
from registry.rows import columns_of, entity, fetch_all, fetch_one
from registry.vouching import vouched, vouched_value

SESSION_LASTS = timedelta(hours=12)
SEEN_EVERY = timedelta(minutes=1)
LONGEST_AGENT = 200


@dataclass(frozen=True, slots=True)
class Login:
    """What an account is checked with."""

    person_id: int
    password_hash: str | None
    totp_wrapped: bytes | None
    kek_id: str | None
    has_totp: bool

    def __repr__(self) -> str:
        return f"Login({self.person_id})"


@dataclass(frozen=True, slots=True)
class Membership:
    """A tenant where a person may work."""

    tenant_id: int
    slug: str
    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Session:
    """An open session, as of this request."""

    person_id: int
    person_name: str
    email: str
    tenant_id: int
    tenant_slug: str
    role: str
    extra_rights: tuple[str, ...]
    expires_at: datetime
    proved_at: datetime
    has_totp: bool
    id: int
    last_seen_at: datetime


@dataclass(frozen=True, slots=True)
class ShownSession:
    """A session as its person sees it, wherever they work."""

    id: int
    tenant: str
    address: str
    user_agent: str
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    is_current: bool


FIND_LOGIN = f"SELECT {columns_of(Login)} FROM find_login($1)"
FIND_SECRETS = f"SELECT {columns_of(Login)} FROM find_secrets($1)"
LOCKED_UNTIL = "SELECT login_locked_until($1, $2)"
RECORD_FAILURE = "SELECT record_login_failure($1, $2)"
CLEAR_FAILURES = "SELECT clear_login_failures($1, $2)"
USE_STEP = "SELECT use_totp_step($1, $2)"
USE_RECOVERY_CODE = "SELECT use_recovery_code($1, $2)"
MEMBERSHIPS = f"SELECT {columns_of(Membership)} FROM memberships_of($1)"
OPEN = "SELECT open_session($1, $2, $3, $4, $5, $6, $7)"
FIND = f"SELECT {columns_of(Session)} FROM find_session($1)"
ENTER = (
    f"SELECT {columns_of(Session)}, enter_by_session($1, tenant_id) IS NOT NULL AS entered FROM find_session($1)"
)
FIND_SEVERAL = (
    f"SELECT t.digest, {columns_of(Session)} FROM unnest($1::bytea[]) AS t (digest), find_session(t.digest)"
)
RECORD_USE = "SELECT record_session_use($1, $2)"
LIST = f"SELECT {columns_of(ShownSession)} FROM list_sessions($1)"
CLOSE_ONE = "SELECT close_session_of($1, $2)"
SWITCH = "SELECT switch_session($1, $2)"
PROVE = "SELECT prove_session($1)"
CLOSE = "SELECT close_session($1)"
CLOSE_ALL = "SELECT close_sessions($1, $2)"
CLOSE_HERE = "SELECT close_sessions_here($1)"


async def find_login(connection: Connection | Pool, email: str) -> Login | None:
    """The account of this address; None: there is none that is open."""
    async with vouched(connection) as own:
        return await fetch_one(own, Login, FIND_LOGIN, email)


async def find_secrets(connection: Connection | Pool, person_id: int) -> Login | None:
    """The account of a person who is logged in, for a second proof."""
    async with vouched(connection) as own:
        return await fetch_one(own, Login, FIND_SECRETS, person_id)


async def locked_until(connection: Connection | Pool, email: str, address: str) -> datetime | None:
    """Until when nothing is tried for this account from this address; None: it may be tried."""
    return await vouched_value(connection, LOCKED_UNTIL, email, address)


async def record_failure(connection: Connection | Pool, email: str, address: str) -> None:
    """Count a wrong password or code against the account, the address, and the two together."""
    await vouched_value(connection, RECORD_FAILURE, email, address)


async def clear_failures(connection: Connection | Pool, email: str, address: str) -> None:
    """A right password from there: what was mistyped before does not count."""
    await vouched_value(connection, CLEAR_FAILURES, email, address)


async def use_totp_step(connection: Connection | Pool, person_id: int, step: int) -> bool:
    """Whether the code of this step opens: not when it, or a later one, has been used."""
    return await vouched_value(connection, USE_STEP, person_id, step) is True


async def use_recovery_code(connection: Connection | Pool, person_id: int, code: str) -> bool:
    """Whether this code opens: once."""
    return await vouched_value(connection, USE_RECOVERY_CODE, person_id, recovery_digest(code)) is True


async def list_memberships(connection: Connection | Pool, person_id: int) -> list[Membership]:
    """Where the person may work, by slug."""
    async with vouched(connection) as own:
        return await fetch_all(own, Membership, MEMBERSHIPS, person_id)


async def open_session(
    connection: Connection | Pool, person_id: int, tenant_id: int, address: str, proof: str, user_agent: str = ""
) -> str | None:
    """The token of a new session; None: no member there any more. `proof` says how they proved who they are."""
    token = make_token()
    digest = token_digest(token)
    agent = "".join(filter(str.isprintable, user_agent))[:LONGEST_AGENT]
    opened = await vouched_value(
        connection, OPEN, person_id, tenant_id, digest, address, SESSION_LASTS, proof, agent
    )
    return token if opened is True else None


async def find_session(connection: Connection | Pool, digest: bytes) -> Session | None:
    """The session whose token has this digest; None: closed, over, or its person or role is withdrawn."""
    return await fetch_one(connection, Session, FIND, digest)


async def enter_session(connection: Connection, digest: bytes) -> Session | None:
    """The session as `find_session` has it, whose tenant the transaction has entered for the rest of it."""
    row = await connection.fetchrow(ENTER, digest)
    return None if row is None or not row["entered"] else entity(Session, row)


async def find_sessions(connection: Connection | Pool, digests: Sequence[bytes]) -> dict[bytes, Session]:
    """Those of these sessions that are open, by the digests of their tokens."""
    rows = await connection.fetch(FIND_SEVERAL, digests)
    return {row["digest"]: entity(Session, row) for row in rows}


async def record_use(connection: Connection | Pool, digest: bytes, address: str) -> None:
    """That the session was used just now, to the minute, and from where."""
    await connection.execute(RECORD_USE, digest, address)


async def list_sessions(connection: Connection | Pool, digest: bytes) -> list[ShownSession]:
    """Every open session of the person whose session this is, the one that was used last first."""
    return await fetch_all(connection, ShownSession, LIST, digest)


async def close_session_of(connection: Connection | Pool, digest: bytes, session_id: int) -> bool:
    """Close this one of the sessions of the same person; False: there is none of this number."""
    return await connection.fetchval(CLOSE_ONE, digest, session_id) is True


async def switch_session(connection: Connection | Pool, digest: bytes, slug: str) -> bool:
    """Work for another of one's tenants; False: no member there."""
    return await connection.fetchval(SWITCH, digest, slug) is True


async def prove_session(connection: Connection | Pool, digest: bytes) -> None:
    """The person has just given the password or a code again."""
    await vouched_value(connection, PROVE, digest)


async def close_session(connection: Connection | Pool, digest: bytes) -> None:
    """From the next request on the token opens nothing."""
    await connection.execute(CLOSE, digest)


async def close_sessions(connection: Connection | Pool, person_id: int, kept: bytes | None = None) -> int:
    """Close a person's sessions everywhere but the one of the digest `kept`; how many."""
    return await vouched_value(connection, CLOSE_ALL, person_id, kept)


async def close_sessions_here(connection: Connection, person_id: int) -> int:
    """Close a person's sessions in the tenant that was entered; how many."""
    return await connection.fetchval(CLOSE_HERE, person_id)
