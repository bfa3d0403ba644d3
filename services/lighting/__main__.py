from core.runtime.lifetime import run_service
from core.runtime.settings import ServiceSettings
from services.lighting.app import run

if __name__ == "__main__":
    run_service("lighting", ServiceSettings, run)
