from alerting.suspension_causes import CAUSES, suspension_cause
from core.model.suspensions import SuspensionReason


def test_every_reason_of_a_suspension_has_french_words() -> None:
    assert CAUSES.keys() == set(SuspensionReason)


def test_detail_goes_behind_the_cause_and_unknown_codes_are_shown_as_they_are() -> None:
    assert suspension_cause("overran").startswith("cinq dépassements")
    assert suspension_cause("other", "à la demande du fabricant") == "à la demande du fabricant"
    assert suspension_cause("too_new") == "too_new"
    assert suspension_cause("too_new", "x") == "too_new : x"
