"""Where an archive lies: a folder on this machine's disk, or a bucket. The only place that knows obstore."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from restrike.aws.session import Aws
from restrike.errors import UsageError
from restrike.stores.folder import LocalFolder
from restrike.stores.objects import Store
from restrike.stores.s3 import check_bucket, open_bucket


def open_store(uri: str, ask: Callable[[], Aws], *, create: bool = False) -> Store:
    """The store of `s3://bucket/prefix` or of a folder; `create` makes the folder. `ask` is called only for S3."""
    in_s3 = bucket_of(uri)
    return LocalFolder(Path(uri), create=create) if in_s3 is None else open_bucket(uri, *in_s3, ask())


def bucket_of(uri: str) -> tuple[str, str] | None:
    """Bucket and prefix of `s3://bucket/prefix`; None of a folder. UsageError for what is neither."""
    scheme, _, rest = uri.partition("://")
    bucket, _, prefix = rest.rstrip("/").partition("/")
    if scheme == "s3" and bucket:
        check_bucket(uri, bucket)
        return bucket, prefix
    if re.match(r"[A-Za-z][\w+.-]*:", uri):
        # `archive:kept` and `s3:/bucket` are names of something, and hardly of a folder.
        raise UsageError(
            f"{uri!r} is no place for an archive",
            "Give a folder (./a:b where its name is such), or s3://bucket/prefix.",
        )
    return None
