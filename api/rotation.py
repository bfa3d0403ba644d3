"""Rotation of a signing secret: both secrets are valid for a while, the new one is shown once."""

from datetime import UTC, datetime, timedelta

from pydantic import Field

from api.fields import Answer, Body, example


class RotationBody(Body):
    """Changer le secret de signature."""

    model_config = example({"keep_former_hours": 24})

    keep_former_hours: int = Field(
        24,
        ge=0,
        le=720,
        description="Heures pendant lesquelles l'ancien secret vaut aussi ; 0 : il ne vaut plus",
    )


class RotationAnswer(Answer):
    """Le nouveau secret, montré cette seule fois."""

    secret: str = Field(examples=["whsec_…"])
    previous_until: datetime


def former_until(body: RotationBody) -> datetime:
    """Until when the former secret is good, too."""
    return datetime.now(UTC) + timedelta(hours=body.keep_former_hours)
