"""The same places and receivers as the package's own tests."""

from tests.alerting.conftest import make_place, place, receiver

__all__ = ["make_place", "place", "receiver"]
