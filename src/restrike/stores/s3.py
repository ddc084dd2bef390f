"""A prefix in a bucket of S3, or of what speaks its protocol."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from restrike.aws.refusals import CLOCK_HINT, of_the_clock
from restrike.aws.session import CREDENTIALS_HINT, Aws, time_of
from restrike.errors import AccessDenied, BadCredentials, NotFound, RestrikeError, UsageError
from restrike.stores.objects import Store, first_line

CREDENTIALS_FOR_S = 300.0  # how long S3's client may keep what botocore gave; botocore renews its own
RETRY_FOR_S = 60.0


def open_bucket(uri: str, bucket: str, prefix: str, aws: Aws) -> Store:
    """UsageError where the table is on this machine and no endpoint of S3 is named."""
    import obstore.store

    if not aws.may_ask("s3"):
        raise UsageError(
            "the table is on this machine, and s3: would write to a bucket of an AWS account",
            "Set AWS_ENDPOINT_URL_S3 to where the bucket is, or use a folder.",
        )

    def credentials() -> Any:
        frozen = aws.credentials().get_frozen_credentials()
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + timedelta(seconds=CREDENTIALS_FOR_S),
        }

    endpoint = aws.configured_endpoint("s3")
    config: Any = {"region": aws.region}
    if endpoint is not None:
        config |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    store = obstore.store.S3Store(
        bucket,
        prefix=prefix or None,
        config=config,
        credential_provider=credentials,
        client_options={"allow_http": True, "timeout": "60s", "connect_timeout": "5s"},
        retry_config={"max_retries": 8, "retry_timeout": timedelta(seconds=RETRY_FOR_S)},
    )
    return Bucket(store, uri.rstrip("/"), bucket, aws)


class Bucket(Store):
    """Nothing is locked here; two writers collide at a create-only put."""

    def __init__(self, store: Any, uri: str, bucket: str, aws: Aws) -> None:
        super().__init__(store, uri)
        self._bucket = bucket
        self._aws = aws

    def now_s(self) -> float | None:
        told = time_of(self._aws.client("s3"), "HeadBucket", Bucket=self._bucket)
        return None if told is None else told.timestamp()

    def _problem(self, error: Exception, what: str) -> RestrikeError:
        import obstore.exceptions

        why = first_line(error)
        if of_the_clock(str(error)):
            return BadCredentials(f"{what}: {why}", CLOCK_HINT)
        if isinstance(error, obstore.exceptions.PermissionDeniedError) or "AccessDenied" in str(error):
            return AccessDenied(f"{what}: access denied: {why}", "Allow s3:GetObject, PutObject, DeleteObject, List.")
        if isinstance(error, obstore.exceptions.UnauthenticatedError):
            return BadCredentials(f"{what}: {why}", CREDENTIALS_HINT)
        if "NoSuchBucket" in str(error):
            return NotFound(f"{what}: there is no bucket {self._bucket}", "Create it, or name another.")
        return super()._problem(error, what)
