"""The network server, ended at once by one PHYPayload (POISON, in hexadecimal) as a bug in native code would."""

import os
from typing import Any

from core.runtime.lifetime import run_service
from network import uplink_batch
from services.network.app import run
from services.network.settings import NetworkSettings

POISON = bytes.fromhex(os.environ["POISON"])
STATUS = 9

receive_data = uplink_batch.receive_data


def receive_or_end(group: Any, *arguments: Any) -> Any:
    if group.phy_payload == POISON:
        os._exit(STATUS)
    return receive_data(group, *arguments)


if __name__ == "__main__":
    uplink_batch.receive_data = receive_or_end
    run_service("network", NetworkSettings, run)
