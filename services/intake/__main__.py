"""`python -m services.intake`: take uplinks from other people's LNS until a signal comes."""

from core.runtime.lifetime import run_service
from services.intake.app import run
from services.intake.settings import IntakeSettings

if __name__ == "__main__":
    run_service("intake", IntakeSettings, run, traces_frames=True)
