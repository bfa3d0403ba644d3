"""Which accounts are made and removed, and what they may do."""

from uuid import UUID

from integrations.mqtt_accounts.wanted import Permissions, changes, permissions_of
from registry.mqtt_accounts import ValidAccount

FIRST, SECOND, THIRD = (f"tgw_{digit * 16}" for digit in "123")
NOTHING = Permissions(frozenset(), frozenset())
SOMETHING = Permissions(frozenset({"a"}), frozenset())


def account(**of: object) -> ValidAccount:
    fields = {"gateway_id": None, "slug": None, "publishes": (), "reads": (), "is_of_access": False, **of}
    return ValidAccount("1" * 16, secret_wrapped=b"", sealed_for=UUID(int=0), is_applied=False, **fields)  # type: ignore[arg-type]


def test_what_the_broker_has_to_have_and_has_is_left_alone_and_so_is_what_an_operator_made_by_hand() -> None:
    found = {FIRST: NOTHING, "admin": None, "0080e115000a9b72": NOTHING, "tgw_1": NOTHING}

    assert not changes({FIRST: NOTHING}, found)


def test_a_missing_account_is_made_a_withdrawn_one_removed_and_one_that_differs_made_anew() -> None:
    needed = changes({FIRST: NOTHING, SECOND: NOTHING, THIRD: NOTHING}, {SECOND: SOMETHING, THIRD: None})
    withdrawn = changes({}, {FIRST: NOTHING, SECOND: None})

    assert (needed.remove, needed.create) == ((SECOND, THIRD), (FIRST, SECOND, THIRD))
    assert (withdrawn.remove, withdrawn.create) == ((FIRST, SECOND), ())


def test_a_gateway_has_its_own_topics_and_a_partner_those_below_the_tenants_prefix() -> None:
    gateway = permissions_of(account(gateway_id=bytes.fromhex("0080e115000a9b72")))
    partner = permissions_of(account(slug="sdef", publishes=("a/+",), reads=("#",)))

    assert all("gateway/0080e115000a9b72/" in topic for topic in gateway.publishes | gateway.reads)
    assert {topic.rsplit("/", 2)[1] for topic in gateway.publishes} == {"event", "state"}
    assert {topic.rsplit("/", 2)[1] for topic in gateway.reads} == {"command"}
    assert partner == Permissions(
        frozenset({"territoire/partner/sdef/a/+"}), frozenset({"territoire/partner/sdef/#"})
    )
