"""`python -m services.alerting`: run the service until a signal comes."""

from core.runtime.lifetime import run_service
from services.alerting.app import run
from services.alerting.settings import AlertingSettings

if __name__ == "__main__":
    run_service("alerting", AlertingSettings, run, traces_frames=True)
