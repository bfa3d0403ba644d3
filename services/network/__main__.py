"""`python -m services.network`: run the service until a signal comes."""

from core.runtime.lifetime import run_service
from services.network.app import run
from services.network.settings import NetworkSettings

if __name__ == "__main__":
    run_service("network", NetworkSettings, run, traces_frames=True)
