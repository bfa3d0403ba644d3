"""Which clocks of the demonstration are sent their programs."""

import asyncio
from typing import Any, cast

from lab.fleet.provision import Provisioner, ProvisioningFailed
from lab.simulator.programs import send_programs


class Api:
    """Clocks that drift once they have spoken; the first message to clock 3 is lost, and the API is away once."""

    def __init__(self) -> None:
        self.drifting: set[int] = set()
        self.sent: list[int] = []
        self.looks = 0

    async def get(self, path: str, **query: Any) -> dict[str, Any]:
        assert (path, query) == ("/v1/lighting/shadows", {"drifts": True, "limit": 100})
        self.looks += 1
        if self.looks == 2:
            raise ProvisioningFailed("503")
        if self.looks == 3:
            self.drifting = {1, 2, 3, 4}
        return {"items": [{"asset_id": asset_id} for asset_id in self.drifting]}

    async def post(self, path: str, _body: dict[str, Any]) -> dict[str, Any]:
        asset_id = int(path.split("/")[4])
        is_lost = asset_id == 3 and asset_id not in self.sent
        self.sent.append(asset_id)
        if not is_lost:
            self.drifting.discard(asset_id)
        return {}


async def test_every_clock_but_one_is_sent_its_program_and_again_what_was_lost() -> None:
    api = Api()

    async with asyncio.timeout(10):
        await send_programs(cast("Provisioner", api), [4, 2, 1, 3], every_s=0)

    assert api.sent == [2, 3, 4, 3]
    assert api.drifting == {1}
