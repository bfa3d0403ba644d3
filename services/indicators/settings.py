"""Settings of indicators."""

from pydantic import Field

from core.runtime.settings import ServiceSettings


class IndicatorsSettings(ServiceSettings):
    """How often figures follow what has changed."""

    indicators_every_s: float = Field(
        default=60.0, gt=0, le=3600, description="Seconds between two looks at what has changed"
    )
