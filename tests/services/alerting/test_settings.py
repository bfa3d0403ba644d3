import pytest
from pydantic import SecretStr, ValidationError

from services.alerting.settings import AlertingSettings

API = "https://territoire.example/"


def settings(**given: str) -> AlertingSettings:
    return AlertingSettings(
        database_url=SecretStr("postgresql://localhost/x"),
        nats_url=SecretStr("nats://localhost"),
        kek=SecretStr(bytes(16).hex()),
        public_url=API,
        **given,  # pyright: ignore[reportArgumentType]
    )


def test_the_link_leads_to_the_api_or_where_the_operator_says() -> None:
    assert settings().alert_link == "https://territoire.example/v1/alerts/{alert}"
    assert settings(alert_url="").alert_link == settings().alert_link
    assert settings(alert_url="https://si.example/?a={alert}").alert_link == "https://si.example/?a={alert}"


@pytest.mark.parametrize("wrong", ["https://si.example/", "si.example/{alert}", "https://si.example/a b/{alert}"])
def test_a_link_that_leads_to_no_alert_is_rejected(wrong: str) -> None:
    with pytest.raises(ValidationError, match="alert_url"):
        settings(alert_url=wrong)
