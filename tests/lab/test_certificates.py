"""An authority's certificates by OpenSSL's own judgement: believed while they last, by who trusts it alone."""

import asyncio
import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from lab.certificates import Authority


async def is_believed(authority: Authority, lives: timedelta) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("server", lives))
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=authority.trusting)
        except ssl.SSLCertVerificationError as refused:
            return "expired" not in refused.verify_message
        writer.close()
        return True


@pytest.mark.parametrize(("lives", "believed"), [(timedelta(minutes=5), True), (timedelta(seconds=-1), False)])
async def test_a_certificate_is_believed_until_it_ends(tmp_path: Path, lives: timedelta, believed: bool) -> None:
    assert await is_believed(Authority(tmp_path), lives) is believed


async def test_one_that_is_signed_again_under_its_name_takes_the_place_of_the_former(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    assert not await is_believed(authority, timedelta(seconds=-1))
    assert await is_believed(authority, timedelta(minutes=5))
