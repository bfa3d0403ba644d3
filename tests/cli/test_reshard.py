"""`territoire reshard` on one server: reads what waits, divides, and the stack goes on with the new number."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli.app import app
from core.messages import topics
from core.messages.batch import encode_batch
from core.runtime.bus import connect_bus
from core.runtime.lease import read_shards
from core.runtime.postgres import connect
from services.supervisor.home import Home
from services.supervisor.stack import Stack
from services.supervisor.stack_options import StackOptions

OPTIONS = StackOptions(udp_port=0, api_port=0, services=())


def territoire(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def home(server_folder: Path, request: pytest.FixtureRequest) -> Iterator[Home]:
    folder = server_folder / request.node.name
    yield Home(folder)
    shutil.rmtree(folder, ignore_errors=True)


async def _leave_a_message(home: Home) -> None:
    with home.held():
        stack = Stack(home, OPTIONS)
        try:
            run = await stack.start()
            async with connect_bus(run.nats_url, "test") as bus:
                await bus.publish(topics.uplinks(2), encode_batch([]))
        finally:
            await stack.stop()


async def _look(home: Home) -> tuple[int, int]:
    with home.held():
        stack = Stack(home, OPTIONS)
        try:
            run = await stack.start()
            connection = await connect(run.database_admin_url)
            shards = await read_shards(connection)
            await connection.close()
            async with connect_bus(run.nats_url, "test") as bus:
                return shards, await bus.stream_messages(topics.UPLINKS)
        finally:
            await stack.stop()


def test_a_stopped_stack_has_sixteen_parts_once_what_waited_is_read(home: Home) -> None:
    asyncio.run(_leave_a_message(home))

    done = territoire("reshard", 16, "--home", home.folder)

    assert done.exit_code == 0, done.output
    assert "en 16 parts (4 avant)" in done.output
    assert asyncio.run(_look(home)) == (16, 0)


def test_a_number_that_does_not_divide_and_a_folder_without_a_stack_are_refused(tmp_path: Path) -> None:
    twelve, nowhere = territoire("reshard", 12), territoire("reshard", 16, "--home", tmp_path / "nowhere")

    assert twelve.exit_code == nowhere.exit_code == 2
    assert "1, 2, 4, 8 ou 16" in twelve.stderr
    assert "n'est le dossier d'aucune pile" in nowhere.stderr
    assert not (tmp_path / "nowhere").exists()
