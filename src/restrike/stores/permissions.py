"""What a bucket's objects need of IAM: under a prefix, and nothing beside it.

HeadBucket, by which S3 tells the bucket's Region and the time, names no prefix and is refused by these; S3 tells them
with the refusal, too. Whether an object's absence is told or refused is decided as if its key were the prefix of a list
(so ceph found S3 to do it: its pull request 68577).
"""

from __future__ import annotations

from restrike.model.permissions import Condition, Kept, Need, Scope, literal

SCHEME = "s3://"


def is_bucket(where: str) -> bool:
    return where.startswith(SCHEME)


def reading(scope: Scope, where: str, *, named: bool = False) -> tuple[Need, ...]:
    """Listing and reading what is under a place; nothing of a folder on this machine. `named`: the place may also be
    the name of one object, which is looked for in a list of what is beside it."""
    if not is_bucket(where):
        return ()
    bucket, prefix = _parts(where)
    lists = [f"{prefix}/*"]
    if named and not where.endswith("/"):
        lists += [prefix, f"{prefix.rpartition('/')[0]}/".removeprefix("/")]
    under: Condition = ("StringLike", "s3:prefix", tuple(sorted(lists)))
    return (
        Need("ListBucket", ("s3:ListBucket",), (_bucket(scope, bucket),), (under,) if prefix else ()),
        Need("Objects", ("s3:GetObject",), _objects(scope, where, named=named), kept=Kept("bucket", bucket)),
    )


def writing(scope: Scope, where: str) -> tuple[Need, ...]:
    if not is_bucket(where):
        return ()
    kept = Kept("bucket", _parts(where)[0], writes=True)
    return (Need("Objects", ("s3:PutObject",), _objects(scope, where), kept=kept),)


def deleting(scope: Scope, where: str, *, named: bool = False) -> tuple[Need, ...]:
    if not is_bucket(where):
        return ()
    return (Need("Objects", ("s3:DeleteObject",), _objects(scope, where, named=named)),)


def whole_bucket(scope: Scope, where: str, *, without: str) -> Need:
    """HeadBucket, to know whether it is there."""
    return Need("Bucket", ("s3:ListBucket",), (_bucket(scope, _parts(where)[0]),), without=without)


def objects_under(scope: Scope, where: str) -> str:
    """The ARN of all objects under that place."""
    return _objects(scope, where)[0]


def _parts(where: str) -> tuple[str, str]:
    bucket, _, prefix = where.removeprefix(SCHEME).rstrip("/").partition("/")
    return bucket, literal(prefix.strip("/"))


def _bucket(scope: Scope, bucket: str) -> str:
    return f"arn:{scope.partition}:s3:::{bucket}"


def _objects(scope: Scope, where: str, *, named: bool = False) -> tuple[str, ...]:
    bucket, prefix = _parts(where)
    whole = f"{_bucket(scope, bucket)}/{prefix}".rstrip("/")
    below = f"{whole}/*"
    return (below, whole) if named and prefix and not where.endswith("/") else (below,)
