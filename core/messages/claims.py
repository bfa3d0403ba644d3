"""Claims of a gateway's path: a replica asks the one that holds it whether it may take it over."""

import msgspec

from core.messages.versions import MessageDecoder, encode_message


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """Who speaks in a gateway's name: by which frontend, from where, and whether it has proved to be it."""

    frontend: str  # As `gateway_state.frontend` has it.
    address: str  # As `gateway_state.address` has it.
    is_proved: bool = False  # By a token, a certificate, or an account at the broker.
    port: int = 0  # Of the socket that receives downlinks, where a protocol has no connection; 0: not known.

    def may_replace(self, owner: "Claim") -> bool:
        """Whether a gateway whose owner is alive may be claimed.

        A credential is the pin where there is one: it is good from any address. Without one, the protocol, the
        address and the socket are.
        """
        if self.is_proved:
            return True
        is_same = (self.frontend, self.address) == (owner.frontend, owner.address)
        return is_same and not owner.is_proved and owner.port in {0, self.port}


class ClaimReply(msgspec.Struct, frozen=True, array_like=True):
    """The holder's answer: `owner` refuses the claim, for `alive_for_s` seconds at least; None lets it pass."""

    owner: Claim | None = None
    alive_for_s: float = 0.0


_claims = MessageDecoder(Claim)
_replies = MessageDecoder(ClaimReply)


def encode_claim(message: Claim | ClaimReply) -> bytes:
    """The octets of a claim or of its reply."""
    return encode_message(message)


def decode_claim(octets: bytes) -> Claim:
    """Raises msgspec.MsgspecError for anything else than a claim."""
    return _claims.decode(octets)


def decode_claim_reply(octets: bytes) -> ClaimReply:
    """Raises msgspec.MsgspecError for anything else than a reply."""
    return _replies.decode(octets)
