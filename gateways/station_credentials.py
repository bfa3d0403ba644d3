"""Decides by what a station has proved to be its gateway: a certificate, a token, or nothing at all."""

from dataclasses import dataclass
from datetime import UTC, datetime

from gateways.known_gateways import Gateways
from gateways.settings import FrontendSettings
from lorawan.identifiers import GatewayId
from registry.gateway_tokens import GatewayToken, split_token

BEARER = "bearer "


@dataclass(frozen=True, slots=True)
class Credential:
    """What a station showed, and was believed."""

    is_certified: bool = False
    token: GatewayToken | None = None

    @property
    def is_proved(self) -> bool:
        """Whether it proves anything."""
        return self.is_certified or self.token is not None


class StationCredentials:
    """Checks what stations show. A gateway that has used a token is believed nothing less from then on."""

    def __init__(self, settings: FrontendSettings, gateways: Gateways) -> None:
        self._asks_certificates = settings.station_client_ca is not None
        self._is_required = settings.station_credentials == "required"
        self._gateways = gateways

    def check(
        self, gateway_id: GatewayId, certified: GatewayId | None, has_certificate: bool, authorization: str
    ) -> Credential | str:
        """What a connection for this gateway has proved, or why it is turned away.

        Args:
            gateway_id: the gateway that the connection is for.
            certified: the one that its certificate names.
            has_certificate: whether it showed one at all, of our authority.
            authorization: its `Authorization` header; empty without one.
        """
        if has_certificate:
            return Credential(is_certified=True) if certified == gateway_id else "certificate"
        if authorization and gateway_id in self._gateways:
            token = self._token(gateway_id, authorization)
            if token is not None:
                return Credential(token=token)
            if self._is_required or self._gateways.tokens_of(gateway_id):
                return "token"
        return Credential() if self._may_come_unproved(gateway_id) else "no_credential"

    def still_holds(self, gateway_id: GatewayId, credential: Credential) -> bool:
        """Whether a connection may go on: its token was not withdrawn, its time without one is not over."""
        if credential.is_certified:
            return True
        if credential.token is None:
            return self._may_come_unproved(gateway_id)
        now = datetime.now(UTC)
        return any(
            token.id == credential.token.id and token.is_valid(now)
            for token in self._gateways.tokens_of(gateway_id)
        )

    def _token(self, gateway_id: GatewayId, authorization: str) -> GatewayToken | None:
        text = authorization[len(BEARER) :] if authorization.lower().startswith(BEARER) else authorization
        shown = split_token(text.strip())
        if shown is None:
            return None
        now = datetime.now(UTC)
        for token in self._gateways.tokens_of(gateway_id):
            if token.id == shown[0] and token.opens_with(shown[1]) and token.is_valid(now):
                return token
        return None

    def _may_come_unproved(self, gateway_id: GatewayId) -> bool:
        """Of a gateway that is not registered nothing is known, and nothing is taken."""
        if self._asks_certificates:
            return False
        gateway = self._gateways.get(gateway_id)
        if gateway is None:
            return True
        if self._gateways.needs_proof(gateway_id):
            return False
        until = gateway.unproved_until
        return not self._is_required or (until is not None and datetime.now(UTC) < until)
