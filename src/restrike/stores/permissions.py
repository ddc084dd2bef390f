"""What a bucket's objects need of IAM: under a prefix, and nothing beside it.

HeadBucket, by which S3 tells the bucket's Region and the time, names no prefix and is refused by these; S3 tells them
with the refusal, too. Whether an object's absence is told or refused is decided as if its key were the prefix of a list
(so ceph found S3 to do it: its pull request 68577).
"""

from __future__ import annotations

from restrike.model.permissions import Condition, Kept, Need, Scope, literal
from restrike.stores import bucket_of


def reading(scope: Scope, where: str, *, named: bool = False) -> tuple[Need, ...]:
    """Listing and reading what is under a place; nothing of a folder on this machine. `named`: the place may also be
    the name of one object, which is looked for in a list of what is beside it. UsageError for what is no place."""
    place = _place(where)
    if place is None:
        return ()
    bucket, prefix = place
    lists, above = [f"{prefix}/*"], prefix
    if named and not where.endswith("/"):
        above = prefix.rpartition("/")[0]
        lists += [prefix, f"{above}/"]
    under: Condition = ("StringLike", "s3:prefix", tuple(sorted(lists)))
    return (
        Need("ListBucket", ("s3:ListBucket",), (_bucket(scope, bucket),), (under,) if above else ()),
        Need("Objects", ("s3:GetObject",), _objects(scope, where, named=named), kept=Kept("bucket", bucket)),
    )


def writing(scope: Scope, where: str) -> tuple[Need, ...]:
    place = _place(where)
    if place is None:
        return ()
    kept = Kept("bucket", place[0], writes=True)
    return (Need("Objects", ("s3:PutObject",), _objects(scope, where), kept=kept),)


def deleting(scope: Scope, where: str, *, named: bool = False) -> tuple[Need, ...]:
    if _place(where) is None:
        return ()
    return (Need("Objects", ("s3:DeleteObject",), _objects(scope, where, named=named)),)


def whole_bucket(scope: Scope, bucket: str, *, without: str) -> Need:
    """HeadBucket, to know whether it is there."""
    return Need("Bucket", ("s3:ListBucket",), (_bucket(scope, bucket),), without=without)


def objects_under(scope: Scope, where: str) -> str:
    """The ARN of all objects under that place."""
    return _objects(scope, where)[0]


def _place(where: str) -> tuple[str, str] | None:
    """Bucket and prefix, as IAM writes it; None of what is in no bucket. UsageError for what is no place at all."""
    found = bucket_of(where) if where else None
    return None if found is None else (found[0], literal(found[1].strip("/")))


def _bucket(scope: Scope, bucket: str) -> str:
    return f"arn:{scope.partition}:s3:::{bucket}"


def _objects(scope: Scope, where: str, *, named: bool = False) -> tuple[str, ...]:
    place = _place(where)
    assert place is not None
    bucket, prefix = place
    whole = f"{_bucket(scope, bucket)}/{prefix}".rstrip("/")
    below = f"{whole}/*"
    return (below, whole) if named and prefix and not where.endswith("/") else (below,)
