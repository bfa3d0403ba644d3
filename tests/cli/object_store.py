"""An object store that speaks S3 over TLS: moto, which keeps what it is given in memory."""

import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import boto3  # pyright: ignore[reportMissingTypeStubs]
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from lab.certificates import Authority

REGION = "fr-par"


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """Where it is, and who has signed its certificate."""

    port: int
    authority: Path

    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=f"https://localhost:{self.port}",
            verify=str(self.authority),
            region_name=REGION,
            aws_access_key_id="identifiant",
            aws_secret_access_key="secret",
        )

    def objects(self, bucket: str) -> dict[str, bytes]:
        """Every object by its name."""
        client = self.client()
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        names = [one["Key"] for page in pages for one in page.get("Contents", [])]
        return {name: client.get_object(Bucket=bucket, Key=name)["Body"].read() for name in names}


def end_tls(close: Callable[[Any], None], line: ssl.SSLSocket) -> None:
    """As TLS wants it: werkzeug closes each connection without it, which OpenSSL takes for an attack."""
    with suppress(OSError, ValueError):
        line.settimeout(2)
        line.unwrap()
    close(line)


@contextmanager
def object_store(folder: Path, bucket: str) -> Generator[ObjectStore]:
    """With one bucket, on any port of this machine."""
    authority = Authority(folder, "stockage")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.sign("localhost"))
    application: Any = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, application, threaded=True, ssl_context=context)
    server.shutdown_request = partial(end_tls, server.shutdown_request)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        store = ObjectStore(server.port, authority.certificate)
        store.client().create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield store
    finally:
        server.shutdown()
        thread.join()
