"""What the reference says of our messages is what we send."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from alerting.dispatch import digest_body
from alerting.notifications import with_data
from alerting.wording import Facts, Subject, body
from api.measurement_messages import BATCH, MeasurementsMessage
from api.routes.webhook_delivery import TEST_TEXT
from api.webhook_messages import (
    DIGEST,
    OPENED,
    SENSOR_HEALTH,
    TEST,
    WARNING,
    WORK_ORDER,
    AddressTest,
    AlertMessage,
    DeliveryWarning,
    DigestMessage,
    SensorHealthMessage,
    WorkOrderMessage,
)
from tests.api.document import DOCUMENT

AT = datetime(2026, 11, 25, 6, 5, tzinfo=UTC)
BIN = Subject("brest", 12, "waste_container", "Bac 12", "3 rue de Siam", "Brest", "em400-12", "%")
NOWHERE = Subject("brest", None, None, None, "", "", None, "")


def without_null(whole: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's document has no null in its examples."""
    data = {name: value for name, value in whole["data"].items() if value is not None}
    return whole | {"data": data}


@pytest.mark.parametrize("subject", [BIN, NOWHERE])
@pytest.mark.parametrize(
    ("event", "cause"),
    [
        ("alert.opened", None),
        ("alert.reopened", None),
        ("alert.raised", None),
        ("alert.resolved", "emptied"),
        ("alert.flapping", None),
        ("alert.digest", None),
    ],
)
def test_an_alerts_message_is_as_described(subject: Subject, event: str, cause: str | None) -> None:
    facts = Facts(7, "bin_75", "major", "Bac plein.", AT, None if subject is NOWHERE else 92.0, None)
    octets = body(event, AT, subject, facts, "https://territoire.example/v1/alerts/7", cause)

    message = AlertMessage.model_validate_json(with_data(octets, sequence=1))

    assert (message.type, message.data.cause, message.data.since) == (event, cause, AT)


async def test_a_digest_is_as_described() -> None:
    opened = body("alert.opened", AT, BIN, Facts(7, "r", "major", "m", AT, 1.0, 2.0), "https://t.example/7")
    row: dict[str, Any] = {"alert_id": 7, "severity": "major", "message": "Bac", "at": AT, "body": opened}
    held = [row | {"workflow": "open"}, row | {"workflow": "resolved"}]

    message = DigestMessage.model_validate_json(digest_body("brest", "Voirie", held, AT + timedelta(hours=1)))

    assert [line.is_over for line in message.data.alerts] == [False, True]
    assert message.data.alerts[0].link == "https://t.example/7"


def test_a_test_is_as_described() -> None:
    octets = msgspec.json.encode({"type": "webhook.test", "timestamp": AT, "data": {"message": TEST_TEXT}})

    assert AddressTest.model_validate_json(octets).data.message == TEST["data"]["message"]


def test_the_examples_are_messages_and_in_the_document() -> None:
    schemas = DOCUMENT["components"]["schemas"]

    for model, whole in (
        (AlertMessage, OPENED),
        (DigestMessage, DIGEST),
        (SensorHealthMessage, SENSOR_HEALTH),
        (DeliveryWarning, WARNING),
        (WorkOrderMessage, WORK_ORDER),
        (AddressTest, TEST),
        (MeasurementsMessage, BATCH),
    ):
        model.model_validate(whole)
        assert schemas[model.__name__]["examples"] == [without_null(whole)]
    messages = {
        "alert",
        "team.digest",
        "team.report",
        "team.sensor_health",
        "work_order",
        "delivery.warning",
        "measurements.changed",
        "webhook.test",
        "webhook.challenge",
    }
    assert set(DOCUMENT["webhooks"]) == messages
    for path in DOCUMENT["webhooks"].values():
        assert "webhook-signature" in path["post"]["description"]
