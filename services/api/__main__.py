from core.runtime.lifetime import run_service
from services.api.app import run
from services.api.settings import ApiSettings

if __name__ == "__main__":
    run_service("api", ApiSettings, run, niceness=1)
