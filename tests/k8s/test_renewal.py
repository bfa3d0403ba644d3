"""A renewed certificate is shown without a restart, by the very configuration and script that the pods have."""

import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.messages.permissions import USERS
from services.supervisor.launch import program
from services.supervisor.ports import free_tcp_port
from tests.k8s.conftest import CHECKOUT, containers_of, render
from tests.k8s.servers import COMPONENTS, eventually, here, start

PASSWORDS = {"NATS_PASSWORD": "x"} | {f"{service.upper()}_BUS": "x" for service in USERS}


def certify(folder: Path) -> None:
    """A new certificate over whatever was there, signed by itself."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", folder / "tls.key", "-out", folder / "tls.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    shutil.copy(folder / "tls.crt", folder / "ca.crt")


def shown(port: int, *, greets: bool) -> bytes:
    """The certificate that the server on this port shows; nats-server says a line before it speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        while greets and connection.recv(1) not in {b"\n", b""}:
            pass
        with context.wrap_socket(connection) as secured:
            return secured.getpeercert(binary_form=True) or b""


def is_watching(script: int) -> bool:
    """Whether it has looked at the files once and waits."""
    children = Path(f"/proc/{script}/task/{script}/children").read_text("ascii").split()
    return any(Path(f"/proc/{child}/comm").read_text("ascii") == "sleep\n" for child in children)


@pytest.fixture(params=["nats", "mosquitto"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, int]]:
    """The server as its pod is configured, and beside it the container that signals it."""
    name, port = request.param, free_tcp_port()
    certify(tmp_path)
    (tmp_path / "passwords").touch(0o600)
    component = COMPONENTS / {"nats": "nats-cluster"}.get(name, name)
    configuration = here((component / f"{name}.conf").read_text("utf-8"), tmp_path, port)
    if name == "mosquitto":
        configuration += "user root\n"
    (tmp_path / f"{name}.conf").write_text(configuration, "utf-8")
    [renewing] = [
        container for container in containers_of(render("production").named("StatefulSet", name))
        if container["name"] == "renew"
    ]  # fmt: skip
    [script] = renewing["args"]
    binary = program({"nats": "nats-server"}.get(name, name), name)
    serving = start(binary, "-c", str(tmp_path / f"{name}.conf"), POD_NAME="nats-0", **PASSWORDS)
    assert eventually(lambda: len(shown(port, greets=name == "nats")) > 0)
    telling = start(*renewing["command"], here(script, tmp_path, port), PATH="/usr/bin:/bin")
    assert eventually(lambda: is_watching(telling.pid))  # Of a state from before it looked it would know nothing.
    yield name, port
    for process in (telling, serving):
        process.terminate()
        process.wait()


@pytest.mark.starts_processes
def test_a_renewed_certificate_is_shown_without_a_restart(server: tuple[str, int], tmp_path: Path) -> None:
    name, port = server
    before = shown(port, greets=name == "nats")

    certify(tmp_path)

    renewed = ssl.PEM_cert_to_DER_cert((tmp_path / "tls.crt").read_text("utf-8"))
    assert renewed != before
    assert eventually(lambda: shown(port, greets=name == "nats") == renewed)


def test_how_each_secret_is_renewed_is_written_down() -> None:
    page = (CHECKOUT / "docs" / "kubernetes.md").read_text("utf-8")
    chapter = page.partition("### Changer un réglage, renouveler un secret")[2].partition("\n## ")[0]
    secrets = {one["metadata"]["name"] for one in render("production").of("ExternalSecret")}

    assert {name for name in secrets if not re.search(rf"{name}(?![\w-])", chapter)} == set()
