"""A whole stack, as `territoire up` starts it, and fleets that keep an account of what they sent."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from core.runtime.bus import connect_bus
from core.runtime.postgres import open_pool
from services.run_info import RunInfo, read_run_info
from services.simulator.account import Account, Kill, balance, read_stored
from services.simulator.driver import Fleet
from services.simulator.figures import wait_until_empty
from services.simulator.main import provision_fleet
from services.simulator.mqtt_gateway import MqttGateway
from services.simulator.sensors import now_us
from services.simulator.tenancy import prepare_tenant
from services.supervisor.stack import SERVICES, checkout

READY_WITHIN_S = 60
SETTLE_S = 3
DRAIN_S = 45


@dataclass
class RunningStack:
    """The stack's own process, and what its run.json says."""

    home: Path
    process: subprocess.Popen[bytes]

    @property
    def info(self) -> RunInfo:
        return read_run_info(self.home)

    def kill(self, name: str) -> int:
        """kill -9 one child; returns the instant, in microseconds."""
        pid = self.info.service(name).pid
        assert pid is not None, f"{name} does not run"
        at = now_us()
        os.kill(pid, signal.SIGKILL)
        return at

    def log(self, name: str) -> str:
        return Path(self.info.service(name).log).read_text("utf-8", "replace")[-3_000:]


def _all_ready(home: Path) -> bool:
    status = subprocess.run(
        [sys.executable, "-m", "services.cli", "status", "--home", str(home), "--json"],
        cwd=checkout(),
        capture_output=True,
        check=False,
    )
    started = {service["name"] for service in json.loads(status.stdout)["services"]} if status.stdout else set()
    return status.returncode == 0 and started >= set(SERVICES)


def _new_home(name: str) -> Path:
    """A folder that PostgreSQL's account may enter, too; the stack itself makes it."""
    return Path("/var/tmp") / f"territoire-{name}-{os.getpid()}"


@pytest.fixture
def stack_folder() -> Iterator[Path]:
    """The home of a stack that the test itself starts."""
    home = _new_home("demo")
    yield home
    subprocess.run(["rm", "-rf", str(home)], check=True)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Started once for every test of this folder that one worker runs."""
    home = _new_home("system")
    argv = [sys.executable, "-m", "services.cli", "up", "--home", str(home), "--udp-host", "127.0.0.1"]
    with (tmp_path_factory.mktemp("log") / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [*argv, "--udp-port", "0", "--api-port", "0"], cwd=checkout(), stdout=log, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + READY_WITHIN_S
            while not _all_ready(home):
                if process.poll() is not None or time.monotonic() > deadline:
                    pytest.fail(f"the stack does not start:\n{Path(log.name).read_text('utf-8')[-3_000:]}")
                time.sleep(0.5)
            yield RunningStack(home, process)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)
            subprocess.run(["rm", "-rf", str(home)], check=True)


@dataclass
class Play:
    """A fleet on the air of a running stack."""

    stack: RunningStack
    fleet: Fleet
    settle: Callable[[Sequence[Kill]], Awaitable[Account]]

    def cut_off_by(self, name: str) -> frozenset[bytes]:
        """The gateways that lose their way in when this process dies."""
        behind_mqtt = {g.gateway_id for g in self.fleet.gateways if isinstance(g, MqttGateway)}
        everybody = {g.gateway_id for g in self.fleet.gateways}
        return frozenset({"gateway_bridge": everybody, "mosquitto": behind_mqtt}.get(name, set()))

    async def until_on_air(self, within_s: float = 40) -> None:
        """Most devices have joined and send; the others go on joining through whatever comes."""
        async with asyncio.timeout(within_s):
            while self.fleet.joined < 0.75 * len(self.fleet.devices) or not self.fleet.sent:  # noqa: ASYNC110
                await asyncio.sleep(0.2)


@pytest.fixture
async def play(stack: RunningStack, request: pytest.FixtureRequest) -> AsyncGenerator[Play]:
    """Forty devices, four gateways (one of them MQTT), twenty uplinks per second."""
    info = stack.info
    name = f"{request.node.name}-{now_us()}".lower().replace("_", "-").replace("[", "-").replace("]", "")[:60]
    async with (
        open_pool(info.database_url, "tests") as pool,
        connect_bus(info.nats_url, "tests") as bus,
    ):
        tenant, key = await prepare_tenant(pool, name, name)
        fleet = await provision_fleet(info, key, name, 4, 40, 20.0, Console(quiet=True))
        flying = asyncio.create_task(fleet.run())

        async def settle(kills: Sequence[Kill]) -> Account:
            fleet.silent.set()
            await asyncio.sleep(SETTLE_S)
            assert await wait_until_empty(bus, DRAIN_S), "the streams are not empty"
            times, undecodable = await read_stored(pool, tenant.id)
            uptimes = {gateway.gateway_id: gateway.uptime for gateway in fleet.gateways}
            return balance(fleet.sent, times, undecodable, kills=kills, uptimes=uptimes)

        yield Play(stack, fleet, settle)
        flying.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await flying
