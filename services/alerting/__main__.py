"""`python -m services.alerting`: run the service until a signal comes."""

from core.model.region import read_school_holidays
from core.runtime.lifetime import run_service
from services.alerting.app import run
from services.alerting.settings import AlertingSettings

# Once for all processes that are forked from whoever imports this (decision 93).
read_school_holidays()

if __name__ == "__main__":
    run_service("alerting", AlertingSettings, run, traces_frames=True)
