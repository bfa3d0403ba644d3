import asyncio

import pytest

from lab.fleet import provision
from lab.fleet.provision import Provisioner, ProvisioningFailed

AWAY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
MADE = b'HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n{"id":1}'


@pytest.mark.parametrize("away", [1, 3])
async def test_an_api_that_is_away_for_a_moment_is_asked_again_and_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, away: int
) -> None:
    monkeypatch.setattr(provision, "WAITS_S", (0, 0))
    answers = [AWAY] * away + [MADE]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            await reader.readexactly(2)  # The body, {}.
            writer.write(answers.pop(0))

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        provisioner = Provisioner(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "terr_x")
        try:
            if away == 1:
                assert await provisioner.post("/v1/assets", {}) == {"id": 1}
            else:
                with pytest.raises(ProvisioningFailed, match="503"):
                    await provisioner.post("/v1/assets", {})
        finally:
            await provisioner.close()

    assert answers == ([] if away == 1 else [MADE])
