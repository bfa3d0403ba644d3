"""A provider of identities (OpenID Connect): the code flow with PKCE for people, and its tokens as bearers."""

import secrets
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from core.runtime.errors import describe
from core.runtime.http.errors import Problem
from core.runtime.tls import client_tls

if TYPE_CHECKING:  # Imported when the provider is first asked: most installations have none.
    import httpx

# Asymmetric, and nothing that a token could choose: never "none", never HMAC with a public key.
ALGORITHMS = ("RS256", "ES256", "PS256", "EdDSA")
SCOPE = "openid email profile"
ANSWERS_WITHIN_S = 5.0
METADATA_LASTS_S = 3600.0
# An unknown key is looked for once; whoever invents key ids asks the provider no more than this often.
REFRESH_EVERY_S = 30.0
LEEWAY_S = 60
LONGEST_TOKEN = 8192

log = structlog.get_logger()


class ProviderAway(Exception):
    """The provider does not answer, or answers what is none of its business."""


def provider_away() -> Problem:
    """503 while the provider does not answer."""
    return Problem(503, "le fournisseur d'identité ne répond pas, réessayez", headers={"Retry-After": "5"})


class InvalidToken(Exception):
    """The token is not one of our provider's for us, now. The message says why, in French."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """Which provider, and who we are to it."""

    issuer: str
    client_id: str
    client_secret: str | None
    audience: str
    """Of bearer tokens."""

    def __repr__(self) -> str:
        return f"ProviderSettings({self.issuer!r})"


@dataclass(frozen=True, slots=True)
class Flow:
    """A login that has begun: what must come back with it."""

    url: str
    state: str
    nonce: str
    verifier: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is to an issuer."""

    issuer: str
    subject: str


class Provider:
    """One provider; its metadata and keys are asked for when they are first needed."""

    def __init__(
        self,
        settings: ProviderSettings,
        clock: Callable[[], float] = time.monotonic,
        transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._transport = transport
        self._metadata: dict[str, Any] = {}
        self._keys: Any = None
        self._read_at = -METADATA_LASTS_S
        self._keys_at = -REFRESH_EVERY_S

    async def begin(self, redirect_uri: str) -> Flow:
        """Where to send a browser, and what to remember of it."""
        metadata = await self._read_metadata()
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        client = self._client(redirect_uri)
        url, _ = client.create_authorization_url(
            metadata["authorization_endpoint"], state=state, code_verifier=verifier, nonce=nonce
        )
        return Flow(url, state, nonce, verifier)

    async def finish(self, redirect_uri: str, code: str, nonce: str, verifier: str) -> Identity:
        """Who came back with this code.

        Raises:
            InvalidToken: the code, or the identity token, is not right.
            ProviderAway: the provider does not answer.
        """
        import httpx  # noqa: PLC0415
        from authlib.common.errors import AuthlibBaseError  # noqa: PLC0415

        metadata = await self._read_metadata()
        try:
            async with self._client(redirect_uri) as client:
                answer = await client.fetch_token(metadata["token_endpoint"], code=code, code_verifier=verifier)
        except AuthlibBaseError as refused:
            log.info("oidc_code_rejected", error=str(refused))
            raise InvalidToken("le fournisseur d'identité refuse ce code") from None
        except (httpx.HTTPError, OSError, ValueError) as away:
            raise ProviderAway(describe(away)) from away
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise InvalidToken("le fournisseur d'identité n'a rendu aucune identité")
        claims = await self._claims(token, self.settings.client_id)
        if not secrets.compare_digest(str(claims.get("nonce", "")), nonce):
            raise InvalidToken("cette identité répond à une autre demande")
        return Identity(self.settings.issuer, str(claims["sub"]))

    async def identity_of(self, token: str) -> Identity:
        """Whose bearer token this is.

        Raises:
            InvalidToken: not one for us, now.
            ProviderAway: its keys cannot be read.
        """
        claims = await self._claims(token, self.settings.audience)
        return Identity(self.settings.issuer, str(claims["sub"]))

    async def _claims(self, token: str, audience: str) -> dict[str, Any]:
        from joserfc import jws, jwt  # noqa: PLC0415
        from joserfc.errors import JoseError  # noqa: PLC0415

        if len(token) > LONGEST_TOKEN:
            raise InvalidToken("jeton trop long")
        registry = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self.settings.issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            sub={"essential": True},
        )
        try:
            header = jws.extract_compact(token.encode()).headers()
            keys = await self._keys_with(header.get("kid"))
            decoded = jwt.decode(token, keys, algorithms=list(ALGORITHMS))
            registry.validate(decoded.claims)
        except (JoseError, ValueError, KeyError, UnicodeError) as wrong:
            log.info("oidc_token_rejected", error=describe(wrong))
            raise InvalidToken(
                "jeton refusé : émetteur, destinataire, signature ou durée ne sont pas ceux attendus"
            ) from None
        return dict(decoded.claims)

    async def _keys_with(self, key_id: object) -> Any:
        """The provider's keys; read again, once and not often, for a key that is not known."""
        known: set[Any] = set() if self._keys is None else {key.kid for key in self._keys.keys}
        is_known = self._keys is not None and (key_id is None or key_id in known)
        if not is_known and self._clock() - self._keys_at >= REFRESH_EVERY_S:
            from joserfc.jwk import KeySet  # noqa: PLC0415

            self._keys_at = self._clock()
            metadata = await self._read_metadata()
            self._keys = KeySet.import_key_set(await self._read(metadata["jwks_uri"]))  # pyright: ignore[reportArgumentType]
        if self._keys is None:
            raise ProviderAway("no keys")
        return self._keys

    async def _read_metadata(self) -> dict[str, Any]:
        if self._clock() - self._read_at < METADATA_LASTS_S:
            return self._metadata
        found = await self._read(f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != self.settings.issuer:
            raise ProviderAway(f"the provider calls itself {found.get('issuer')!r}")
        self._metadata, self._read_at = found, self._clock()
        return found

    async def _read(self, url: str) -> dict[str, Any]:
        import httpx  # noqa: PLC0415

        try:
            async with httpx.AsyncClient(
                timeout=ANSWERS_WITHIN_S, trust_env=False, transport=self._transport, verify=client_tls()
            ) as client:
                answer = await client.get(url)
                answer.raise_for_status()
                return answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as away:
            raise ProviderAway(describe(away)) from away

    def _client(self, redirect_uri: str) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It would rather have the library after httpx.
            from authlib.integrations.httpx_client import AsyncOAuth2Client  # noqa: PLC0415

        return AsyncOAuth2Client(
            self.settings.client_id,
            self.settings.client_secret,
            token_endpoint_auth_method="client_secret_basic" if self.settings.client_secret else "none",
            scope=SCOPE,
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            timeout=ANSWERS_WITHIN_S,
            trust_env=False,
            verify=client_tls(),
        )
