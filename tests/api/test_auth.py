import secrets

from api.auth import REMEMBERED_KEYS, REMEMBERED_S, Authenticator
from core.runtime.postgres import Pool
from registry.tenants import create_api_key, revoke_api_key


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_key_that_another_replica_revoked_is_rejected_after_five_seconds(
    pool: Pool, api_pool: Pool, tenancy
) -> None:
    clock = Clock()
    authenticator = Authenticator(api_pool, clock)

    known = await authenticator.principal(tenancy.key)
    await revoke_api_key(pool, tenancy.key.split("_")[1])
    clock.now = REMEMBERED_S - 0.1
    remembered = await authenticator.principal(tenancy.key)
    clock.now = REMEMBERED_S
    refused = await authenticator.principal(tenancy.key)

    assert REMEMBERED_S <= 5
    assert known is not None
    assert remembered == known
    assert refused is None


async def test_a_wrong_key_is_never_remembered(api_pool: Pool, tenancy) -> None:
    authenticator = Authenticator(api_pool, Clock())
    await authenticator.principal(tenancy.key)

    wrong = [tenancy.key + "x", tenancy.key[:-1], "terr_é_x", "x" * 10_000, "terr_" + secrets.token_hex(6) + "_s"]

    assert [await authenticator.principal(key) for key in wrong] == [None] * len(wrong)
    assert len(authenticator._known) == 1


async def test_the_number_of_remembered_keys_is_bounded(pool: Pool, api_pool: Pool, tenancy, monkeypatch) -> None:
    monkeypatch.setattr("api.auth.REMEMBERED_KEYS", 2)
    authenticator = Authenticator(api_pool, Clock())
    for name in "abcd":
        await authenticator.principal(await create_api_key(pool, tenancy.id, name, ["read"]))

    assert REMEMBERED_KEYS <= 10_000
    assert len(authenticator._known) == 2
