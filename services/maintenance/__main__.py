"""`python -m services.maintenance`: run the service until a signal comes."""

from core.runtime.lifetime import run_service
from services.maintenance.app import run
from services.maintenance.settings import MaintenanceSettings

if __name__ == "__main__":
    run_service("maintenance", MaintenanceSettings, run, niceness=10)
