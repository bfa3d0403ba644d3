"""An API of Kubernetes over TLS, and a pod that has an account there: what is asked is answered by the test."""

import json
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from cli import kubernetes
from lab.certificates import Authority

TOKEN = "Bearer of-the-pod"
Answer = Callable[[str, str, str, bytes], tuple[int, Any]]
"""The status and the JSON, of a method, a path, what it has for Authorization, and a body."""


@contextmanager
def in_pod(folder: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    class Handler(BaseHTTPRequestHandler):
        def respond(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, said = answer(self.command, self.path, self.headers.get("Authorization", ""), body)
            text = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = respond  # noqa: N815 - http.server's names.

        def log_message(self, *_: object) -> None:
            return

    authority = Authority(folder, "grappe")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("kubernetes"))
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, daemon=True).start()
    for name, content in (("token", b"of-the-pod\n"), ("namespace", b"territoire"),
                          ("ca.crt", authority.certificate.read_bytes())):  # fmt: skip
        (folder / name).write_bytes(content)
    monkeypatch.setattr(kubernetes, "ACCOUNT", folder)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(server.server_port))
    yield
    server.shutdown()
