"""An export's manifests: what it is of, from when to when, and which files hold it; verified by their checksums."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime

import msgspec

from restrike.aws.exports import Kind
from restrike.errors import SourceLacks
from restrike.stores.objects import Store

SUMMARY, FILES = "manifest-summary.json", "manifest-files.json"
_CHECKSUMS = (".md5", ".checksum")
"""Both endings are documented; which of them a service writes is its own."""
_COPY_AGAIN = "Copy the export's whole folder again, or have it exported once more."


class _Summary(msgspec.Struct, rename="camel"):
    table_arn: str
    output_format: str
    item_count: int
    export_arn: str = ""
    table_id: str = ""
    s3_bucket: str = ""
    s3_prefix: str | None = None
    export_time: str | None = None
    export_from_time: str | None = None
    export_to_time: str | None = None
    output_view: str | None = None
    export_type: str | None = None


class DataFile(msgspec.Struct, frozen=True, rename="camel"):
    """One file of an export: its items, the base64 MD5 of its bytes as they lie there, its key in the bucket."""

    item_count: int
    md5_checksum: str
    data_file_s3_key: str


class Exported(msgspec.Struct, frozen=True):
    """One export as its manifests tell it. `folder` is its path from the store's root, whose last part is its id.

    Times in epoch seconds: `from_s` is included and `to_s` is not; of a full export both are the time that it shows.
    `digest` is of both manifests.
    """

    id: str
    folder: str
    arn: str
    kind: Kind
    from_s: float
    to_s: float
    items: int
    table_arn: str
    table_id: str
    format: str
    view: str
    bucket: str
    prefix: str
    digest: str


_summary = msgspec.json.Decoder(_Summary)
_files = msgspec.json.Decoder(DataFile)


def read_export(store: Store, folder: str) -> tuple[Exported, list[DataFile]] | None:
    """The export in that folder; None where it has no summary. SourceLacks where its manifests are not what they were
    when they were written, or contradict each other."""
    found = store.read(inside(folder, SUMMARY))
    if found is None:
        return None
    where = f"{store.uri}/{folder}".rstrip("/")
    summary_text = _verified(store, folder, SUMMARY, found[0])
    listed = store.read(inside(folder, FILES))
    if listed is None:
        raise SourceLacks(f"{where} has no {FILES}", _COPY_AGAIN)
    files_text = _verified(store, folder, FILES, listed[0])
    try:
        summary = _summary.decode(summary_text)
        files = _files.decode_lines(files_text)
        exported = _exported(folder, summary, hashlib.sha256(summary_text + b"\0" + files_text).hexdigest())
    except (msgspec.MsgspecError, ValueError, KeyError) as error:
        raise SourceLacks(f"{where}: its manifest is none that DynamoDB writes: {error}", _COPY_AGAIN) from None
    counted = sum(file.item_count for file in files)
    if counted != summary.item_count:
        raise SourceLacks(
            f"{where}: {SUMMARY} counts {summary.item_count:,} items, and the files of {FILES} {counted:,}", _COPY_AGAIN
        )
    return exported, files


def _exported(folder: str, summary: _Summary, digest: str) -> Exported:
    incremental = summary.export_type == "INCREMENTAL_EXPORT" or summary.export_from_time is not None
    begins = summary.export_from_time if incremental else summary.export_time
    ends = summary.export_to_time if incremental else summary.export_time
    if begins is None or ends is None:
        raise ValueError("it says no time")
    return Exported(
        id=folder.rpartition("/")[2] or summary.export_arn.rpartition("/")[2],
        folder=folder,
        arn=summary.export_arn,
        kind="incremental" if incremental else "full",
        from_s=datetime.fromisoformat(begins).timestamp(),
        to_s=datetime.fromisoformat(ends).timestamp(),
        items=summary.item_count,
        table_arn=summary.table_arn,
        table_id=summary.table_id,
        format=summary.output_format,
        view=summary.output_view or "NEW_AND_OLD_IMAGES",
        bucket=summary.s3_bucket,
        prefix=summary.s3_prefix or "",
        digest=digest,
    )


def _verified(store: Store, folder: str, name: str, text: bytes) -> bytes:
    stem = name.removesuffix(".json")
    for ending in _CHECKSUMS:
        found = store.read(inside(folder, f"{stem}{ending}"))
        if found is None:
            continue
        if not is_md5_of(hashlib.md5(text, usedforsecurity=False).digest(), found[0].decode("latin-1")):
            raise SourceLacks(
                f"{store.uri}/{inside(folder, name)} is not what {stem}{ending} says: it was cut off, or changed",
                _COPY_AGAIN,
            )
        return text
    endings = " and no ".join(f"{stem}{ending}" for ending in _CHECKSUMS)
    raise SourceLacks(
        f"{store.uri}/{folder}".rstrip("/") + f" has no {endings}: whether {name} is whole is not known", _COPY_AGAIN
    )


def inside(folder: str, name: str) -> str:
    """The path of what lies in that folder; the store's root is the empty one."""
    return f"{folder}/{name}" if folder else name


def is_md5_of(digest: bytes, told: str) -> bool:
    """Whether a checksum, as base64 (which DynamoDB writes) or as hexadecimal digits, is that MD5."""
    told = told.strip().strip('"')
    return told in (base64.b64encode(digest).decode(), digest.hex())
