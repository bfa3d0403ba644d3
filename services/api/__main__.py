import gc

from core.runtime.lifetime import run_service
from services.api.app import run
from services.api.settings import ApiSettings

# An answer may be sixty thousand rows, and none of them is part of a cycle: with Python's own thresholds most of the
# time of reading them goes by looking for cycles among them (docs/performance.md).
GC_THRESHOLDS = (100_000, 20, 100)

if __name__ == "__main__":
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    run_service("api", ApiSettings, run)
