"""Asks the API of Kubernetes, from a pod that has an account there."""

import os
from pathlib import Path

import httpx

from core.runtime.tls import client_tls

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def connect_to_kubernetes(group: str, kind: str) -> httpx.AsyncClient:
    """As the account of this pod, for the objects of one kind (`postgresql.cnpg.io/v1`, `clusters`) beside it.

    Raises:
        OSError: this is no pod, or one that has no account.
    """
    token, namespace = ((ACCOUNT / name).read_text("utf-8").strip() for name in ("token", "namespace"))
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    return httpx.AsyncClient(
        base_url=f"https://{host}:{port}/apis/{group}/namespaces/{namespace}/{kind}",
        headers={"Authorization": f"Bearer {token}"},
        verify=client_tls(str(ACCOUNT / "ca.crt")),
        timeout=30.0,
        trust_env=False,
    )
