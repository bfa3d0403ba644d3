"""What `chaos` finds wrong with what users were promised."""

from lab.chaos.witnesses.in_use import of_messages

SOUND = {
    "taken": 12, "stored": 12, "heard": 12, "alerts": 12, "alarmed": 12, "webhook_ids": 12, "assets_notified": 12,
    "deliveries": 14,
}  # fmt: skip


def test_a_message_that_is_one_row_one_alert_and_one_notification_has_nothing_wrong() -> None:
    assert of_messages(SOUND) == []


def test_whatever_is_missing_or_there_twice_is_found() -> None:
    for what in ("stored", "heard", "alerts", "alarmed", "webhook_ids", "assets_notified"):
        for count in (11, 13):
            assert of_messages({**SOUND, what: count}), what


def test_a_case_in_which_no_message_was_taken_has_shown_nothing() -> None:
    assert of_messages(dict.fromkeys(SOUND, 0)) == ["aucun message n'a été pris"]
