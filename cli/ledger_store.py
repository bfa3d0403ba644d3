"""The ledger of erasures beside the backups of a cluster: one object of the store that they are in.

Of S3 it takes two requests, for the whole object, signed as AWS describes it ("Signature Version 4").
"""

import hashlib
import hmac
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlsplit

import httpx

from core.runtime.tls import client_tls
from registry.erasures import write_missing
from registry.ledger_file import LEDGER_NAME

if TYPE_CHECKING:
    from core.runtime.postgres import Connection

NOT_FOUND = 404
WITHIN_S = 60.0
# Where a store knows one region only, it takes this name for it.
USUAL_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class LedgerStore:
    """One object: where it is, and with which key it is read and written."""

    endpoint: str
    bucket: str
    key: str
    region: str
    access_key_id: str
    secret_access_key: str
    encryption: str = ""
    """How the store is told to keep it, as it keeps the backups; empty: as it is used to."""

    @classmethod
    def of(cls, store: Mapping[str, Any], environment: Mapping[str, str] = os.environ) -> Self:
        """Beside what an ObjectStore of the plugin Barman Cloud names; the key as AWS's programs read it.

        Raises:
            KeyError, ValueError: it names no place of S3, or the environment has no key.
        """
        configuration: Mapping[str, Any] = store["spec"]["configuration"]
        place = urlsplit(str(configuration["destinationPath"]))
        if place.scheme != "s3" or not place.hostname:
            raise ValueError(f"{configuration['destinationPath']} : s3://… attendu")
        region = environment.get("AWS_REGION") or USUAL_REGION
        return cls(
            configuration.get("endpointURL") or f"https://s3.{region}.amazonaws.com",
            place.hostname,
            "/".join(part for part in (place.path.strip("/"), LEDGER_NAME) if part),
            region,
            environment["AWS_ACCESS_KEY_ID"],
            environment["AWS_SECRET_ACCESS_KEY"],
            configuration.get("data", {}).get("encryption", ""),
        )

    async def complete(self, connection: "Connection") -> int:
        """Add what the database knows to have erased and the object lacks; how many lines.

        What the object has and the database has forgotten, being restored, stays: only one may do this at a time.

        Raises:
            UnreadableLedger: the object is no ledger of ours, and stays as it is.
            httpx.HTTPError: the store does not answer, or refuses.
        """
        trusted = client_tls()  # SSL_CERT_FILE names an authority of one's own.
        async with httpx.AsyncClient(timeout=WITHIN_S, trust_env=False, verify=trusted) as client:
            there = await client.send(self._request("GET"))
            if there.status_code != NOT_FOUND:
                there.raise_for_status()
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / LEDGER_NAME
                file.write_bytes(there.content if there.is_success else b"")
                added = await write_missing(connection, file)
                if added or not there.is_success:  # Nothing erased so far is no ledger that is missing.
                    (await client.send(self._request("PUT", file.read_bytes()))).raise_for_status()
        return added

    def _request(self, method: str, body: bytes = b"") -> httpx.Request:
        url = f"{self.endpoint.rstrip('/')}/{quote(f'{self.bucket}/{self.key}')}"
        return httpx.Request(method, url, headers=self.signed(method, url, body, datetime.now(UTC)), content=body)

    def signed(self, method: str, url: str, body: bytes, now: datetime) -> dict[str, str]:
        """The headers of a request without a query, with its signature."""
        parts, digest = urlsplit(url), hashlib.sha256(body).hexdigest()
        headers = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": f"{now:%Y%m%dT%H%M%SZ}"}
        if method == "PUT" and self.encryption:
            headers["x-amz-server-side-encryption"] = self.encryption
        names = ";".join(sorted(headers))
        lines = [f"{name}:{headers[name]}" for name in sorted(headers)]
        canonical = "\n".join([method, parts.path, "", *lines, "", names, digest])
        scope = f"{now:%Y%m%d}/{self.region}/s3/aws4_request"
        signed = "\n".join(
            ["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()]
        )
        key = f"AWS4{self.secret_access_key}".encode()
        for part in scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        signature = hmac.digest(key, signed.encode(), "sha256").hex()
        authorization = f"Credential={self.access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
        return headers | {"authorization": f"AWS4-HMAC-SHA256 {authorization}"}
