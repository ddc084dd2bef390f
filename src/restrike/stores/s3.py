"""A prefix in a bucket of S3, or of what speaks its protocol."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from restrike.aws.credentials import CREDENTIALS_HINT
from restrike.aws.destination import Destination, destination
from restrike.aws.endpoints import no_certificates
from restrike.aws.refusals import CLOCK_HINT, of_the_clock
from restrike.aws.session import Aws, time_of, told, user_agent
from restrike.aws.signing import FrozenCredentials
from restrike.errors import AccessDenied, BadCredentials, NotFound, RestrikeError, UsageError
from restrike.stores.objects import Store, first_line

CREDENTIALS_FOR_S = 300.0  # how long S3's client may keep what botocore gave; botocore renews its own
RETRY_FOR_S = 60.0
_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")
"""Of buckets that are made today only small letters; older ones may have more, and botocore takes as many."""
_ELSEWHERE = ("Received redirect without LOCATION", "PermanentRedirect", "AuthorizationHeaderMalformed")

T = TypeVar("T")


def open_bucket(uri: str, bucket: str, prefix: str, aws: Aws) -> Store:
    """UsageError where the table is on this machine and no endpoint of S3 is named."""
    if not aws.may_ask("s3"):
        raise UsageError(
            f"DynamoDB is on this machine, and {uri} is in an AWS account, which is neither read nor written then",
            "Set AWS_ENDPOINT_URL_S3 to where the bucket is, or use a folder.",
        )
    return Bucket(uri.rstrip("/"), bucket, prefix, aws, place_of(aws, bucket))


def check_bucket(uri: str, bucket: str) -> None:
    """UsageError for what is no plain bucket."""
    if ":" in bucket:
        raise UsageError(
            f"{uri} is an access point by its ARN, which Restrike cannot use", "Give its alias, or the bucket's name."
        )
    if not _NAME.fullmatch(bucket):
        raise UsageError(
            f"{uri}: {bucket!r} is no name of a bucket",
            "A name has letters, digits, dots and hyphens: s3://bucket/prefix.",
        )
    if bucket.endswith("--x-s3"):
        raise UsageError(
            f"{uri} is a directory bucket (S3 Express), which lists in no order", "Use a general purpose bucket."
        )


def place_of(aws: Aws, bucket: str) -> Destination:
    """Where requests for that bucket go: by botocore's rules, in the bucket's own Region.

    S3 tells the Region with whatever it answers to HeadBucket. Where it does not, it is taken for ours.
    """
    client = aws.client("s3")
    place = destination(client, "HeadBucket", Bucket=bucket)
    if place.signing_name != "s3":
        raise UsageError(
            f"{bucket} is signed for {place.signing_name}, which Restrike cannot do", "Use a general purpose bucket."
        )
    if aws.configured_endpoint("s3") is not None:
        return place
    headers = told(client, "HeadBucket", Bucket=bucket).get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = headers.get("x-amz-bucket-region", place.region)
    return place if region == place.region else destination(aws.client("s3", region), "HeadBucket", Bucket=bucket)


def config_of(place: Destination, bucket: str) -> dict[str, Any]:
    """What makes obstore send its requests to just that place, whatever the environment tells obstore."""
    by_path = place.url.endswith(f"/{bucket}")
    endpoint = place.url.removesuffix(f"/{bucket}")
    return {
        "region": place.region,
        "endpoint": endpoint,
        "aws_endpoint_url_s3": endpoint,
        "virtual_hosted_style_request": not by_path,
        "s3_express": False,
        "skip_signature": False,
    }


class Bucket(Store):
    """Nothing is locked here; two writers collide at a create-only put."""

    def __init__(self, uri: str, bucket: str, prefix: str, aws: Aws, place: Destination) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._aws = aws
        self._place = place
        self._given: FrozenCredentials | None = None
        self._lacking: BadCredentials | None = None
        super().__init__(self._opened(), uri)

    def _opened(self) -> Any:
        import obstore.exceptions
        import obstore.store

        client_options: Any = {
            "allow_http": True,
            "timeout": "60s",
            "connect_timeout": "5s",
            "user_agent": user_agent(),
        }
        config: Any = config_of(self._place, self._bucket)
        bundle = self._aws.ca_bundle()
        try:
            if bundle:
                client_options["root_certificate"] = Path(bundle).read_bytes()
            return obstore.store.S3Store(
                self._bucket,
                prefix=self._prefix or None,
                config=config,
                credential_provider=self._credentials,
                client_options=client_options,
                retry_config={"max_retries": 8, "retry_timeout": timedelta(seconds=RETRY_FOR_S)},
            )
        except (OSError, ValueError, obstore.exceptions.BaseError) as error:
            if not bundle:
                raise
            raise no_certificates(bundle, error) from None

    def _credentials(self) -> Any:
        try:
            frozen = self._aws.credentials().get_frozen_credentials()
        except BadCredentials as error:
            self._lacking = error  # obstore makes one of its own of it, without the hint
            raise
        self._given = frozen
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(UTC) + timedelta(seconds=CREDENTIALS_FOR_S),
        }

    def _done(self, call: Callable[[], T]) -> T:
        """Once more where the credentials had just expired: S3 refuses them before it does anything."""
        given = self._given
        try:
            return call()
        except Exception as error:
            if "ExpiredToken" not in str(error):
                raise
        self._aws.credentials().renew(given)
        self._store = self._opened()  # the old one keeps what it was given
        return call()

    def now_s(self) -> float | None:
        now = time_of(self._aws.client("s3"), "HeadBucket", Bucket=self._bucket)
        return None if now is None else now.timestamp()

    def _problem(self, error: Exception, what: str) -> RestrikeError:
        import obstore.exceptions

        why, all_of_it = first_line(error), str(error)
        if of_the_clock(all_of_it):
            return BadCredentials(f"{what}: {why}", CLOCK_HINT)
        if "InvalidAccessKeyId" in all_of_it or "ExpiredToken" in all_of_it:
            return BadCredentials(f"{what}: {why}", CREDENTIALS_HINT)
        if isinstance(error, obstore.exceptions.PermissionDeniedError) or "AccessDenied" in all_of_it:
            return AccessDenied(f"{what}: access denied: {why}", "Allow s3:GetObject, PutObject, DeleteObject, List.")
        if isinstance(error, obstore.exceptions.UnauthenticatedError):
            return self._lacking or BadCredentials(f"{what}: {why}", CREDENTIALS_HINT)
        if "NoSuchBucket" in all_of_it:
            return NotFound(f"{what}: there is no bucket {self._bucket}", "Create it, or name another.")
        if any(words in all_of_it for words in _ELSEWHERE):
            return UsageError(
                f"{what}: the bucket is in another Region than {self._place.region}: {why}",
                "Allow s3:ListBucket, with which S3 tells the bucket's Region.",
            )
        return super()._problem(error, what)
