"""`python -m services.gateway_bridge`."""

from core.runtime.lifetime import run_service
from services.gateway_bridge.app import run
from services.gateway_bridge.settings import Settings

if __name__ == "__main__":
    run_service("gateway_bridge", Settings, run, traces_frames=True)
