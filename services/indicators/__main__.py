"""`python -m services.indicators`: run the service until a signal comes."""

from core.runtime.lifetime import run_service
from services.indicators.app import NICENESS, run
from services.indicators.settings import IndicatorsSettings

if __name__ == "__main__":
    run_service("indicators", IndicatorsSettings, run, niceness=NICENESS)
