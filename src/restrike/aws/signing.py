"""Signature Version 4 for a POST: to `/` of a service that speaks the AWS JSON protocol, or to a path of a REST one.

botocore's signer is made for every shape and costs some 60 µs a request, which was a third of what a touch
cost. Here the headers are few, and the key of the day is kept. A test holds every header against botocore's own
signer.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import quote

JSON_1_0 = "application/x-amz-json-1.0"


class FrozenCredentials(Protocol):
    """botocore's credentials of one moment. Only the token is ever None, whatever the types allow."""

    @property
    def access_key(self) -> str | None: ...
    @property
    def secret_key(self) -> str | None: ...
    @property
    def token(self) -> str | None: ...


class Signer:
    """Signs for one service, Region and host. `path` is the one of the requests that name none."""

    def __init__(self, *, service: str, region: str, host: str, path: str = "/", content_type: str = JSON_1_0) -> None:
        self._service = service
        self._region = region
        self._host = host
        self._path = path
        self._content_type = content_type
        self._second = -1
        self._stamp = ""
        self._day = ""
        self._secret: str | None = ""
        self._key = b""

    def headers(self, credentials: FrozenCredentials, target: str, body: bytes, now_s: float) -> dict[str, str]:
        """The headers of a call of the AWS JSON protocol, with its signature; `now_s` in epoch seconds."""
        return self.sign(credentials, {"X-Amz-Target": target}, body, now_s)

    def sign(
        self,
        credentials: FrozenCredentials,
        named: Mapping[str, str],
        body: bytes,
        now_s: float,
        *,
        path: str | None = None,
        query: str = "",
    ) -> dict[str, str]:
        """The request's headers: `named` and those that every request has, with its signature.

        `path` and `query` are as they go over the wire, percent-encoded, the query's pairs in order of their names;
        `now_s` is in epoch seconds. The values of `named` have no white space to fold.
        """
        if int(now_s) != self._second:
            self._second = int(now_s)
            self._stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._second))
        stamp = self._stamp
        day = stamp[:8]
        headers = {"Content-Type": self._content_type, "Host": self._host, "X-Amz-Date": stamp, **named}
        if credentials.token:
            headers["X-Amz-Security-Token"] = credentials.token
        lowered = sorted([(name.lower(), value) for name, value in headers.items()])
        signed = ";".join([name for name, _ in lowered])
        canonical = "".join([f"{name}:{value}\n" for name, value in lowered])
        # Encoded once more: every service but S3 signs the path so.
        path = self._path if path is None else quote(path, safe="/~")
        digest = hashlib.sha256(body).hexdigest()
        request = f"POST\n{path}\n{query}\n{canonical}\n{signed}\n{digest}"
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._signing_key(credentials.secret_key, day), text.encode(), "sha256").hex()
        headers["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={signed}, Signature={signature}"
        )
        return headers

    def _signing_key(self, secret: str | None, day: str) -> bytes:
        if day != self._day or secret != self._secret:
            key = f"AWS4{secret}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._day, self._secret, self._key = day, secret, key
        return self._key
