import gc

from core.runtime.lifetime import run_service
from services.ingest.app import run
from services.ingest.settings import IngestSettings

# Rows are tuples by the ten thousand and none of them is part of a cycle: with Python's own thresholds a third of
# the time goes by looking for cycles among them.
GC_THRESHOLDS = (100_000, 20, 100)

if __name__ == "__main__":
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    run_service("ingest", IngestSettings, run)
