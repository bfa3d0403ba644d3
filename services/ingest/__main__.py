from core.runtime.lifetime import run_service
from services.ingest.app import run
from services.ingest.settings import IngestSettings

if __name__ == "__main__":
    run_service("ingest", IngestSettings, run, traces_frames=True)
