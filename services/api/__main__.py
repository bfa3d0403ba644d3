import gc

from core.runtime.lifetime import run_service
from services.api.app import run
from services.api.settings import ApiSettings

# An answer may be sixty thousand rows, none of them part of a cycle: with Python's own thresholds half of the time
# goes by looking for cycles among them (docs/performance.md).
GC_THRESHOLDS = (100_000, 20, 100)

if __name__ == "__main__":
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    run_service("api", ApiSettings, run)
