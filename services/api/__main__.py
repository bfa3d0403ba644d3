from api.app import without_state
from core.runtime.lifetime import run_service
from services.api.app import run
from services.api.settings import ApiSettings

# Whoever imports this once and forks it (decision 93) has made what all its processes share: each would write on
# twenty megabytes to make it.
without_state()

if __name__ == "__main__":
    run_service("api", ApiSettings, run, niceness=1)
