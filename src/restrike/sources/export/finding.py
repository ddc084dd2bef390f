"""Where exports lie: under a folder or a prefix, and where each of their data files is.

DynamoDB writes `<prefix>/AWSDynamoDB/<ExportId>/` with the manifests, and data files into `data/` in there (full) or
into the `data/` beside it that all incremental exports share. Copies may begin anywhere in that tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from restrike.aws.session import Aws
from restrike.errors import SourceLacks, UsageError
from restrike.sources.export.manifest import FILES, SUMMARY, DataFile, Exported, inside, read_export
from restrike.stores import open_store
from restrike.stores.objects import Object, Store

ROOT, DATA = "AWSDynamoDB", "data"
AT_ONCE = 16
DEEPEST = 5
_HINT = "Name the export's folder, its manifest-summary.json, or a prefix with several."
MOST_FOLDERS = 500
"""That are looked into for exports; a folder of exports is one of them, however many it has."""


class Found(msgspec.Struct, frozen=True):
    """The exports of a place, in the order of their windows, and the folders of those that have no manifest yet."""

    exports: tuple[Exported, ...]
    unfinished: tuple[str, ...]


def open_place(where: str, aws: Callable[[], Aws]) -> tuple[Store, str]:
    """The store, from as far up as data files may lie, and the path in it that was named: a bucket from its root, a
    folder from the one that holds AWSDynamoDB."""
    where = where.rstrip("/").removesuffix(f"/{SUMMARY}").removesuffix(f"/{FILES}")
    scheme, _, rest = where.partition("://")
    if scheme == "s3":
        bucket, _, prefix = rest.rstrip("/").partition("/")
        return open_store(f"s3://{bucket}", aws), prefix
    path = Path(where)
    parts = path.parts
    if ROOT in parts:
        if not path.exists():
            raise UsageError(f"{where} is not there", _HINT)
        above = len(parts) - 1 - parts[::-1].index(ROOT)
        return open_store(str(Path(*parts[:above])), aws), "/".join(parts[above:])
    try:
        return open_store(where, aws), ""
    except UsageError as error:
        error.hint = _HINT
        raise


def find(store: Store, place: str, *, left_out: frozenset[str] = frozenset()) -> Found:
    """All exports at and under that path, but for those with the ids that are left out, which may be damaged.
    SourceLacks where there is none, or a manifest is not whole; UsageError where an id is none of theirs."""
    folders = _without(_folders(store, place), left_out)

    def read(folder: str) -> Exported | None:
        found = read_export(store, folder)
        return None if found is None else found[0]  # and not its files, which may be many

    with ThreadPoolExecutor(AT_ONCE) as pool:
        each_read = dict(zip(folders, pool.map(read, folders), strict=True))
    exports = [found for found in each_read.values() if found is not None]
    unfinished = [folder for folder, found in each_read.items() if found is None]
    where = f"{store.uri}/{place}".rstrip("/")
    if not exports:
        if left_out:
            raise UsageError("--leave-out names all exports that there are", "Leave it out.")
        if unfinished:
            raise SourceLacks(
                f"{where} has no {SUMMARY}: the export is not finished, has failed, or was copied in part",
                "See how it is: aws dynamodb describe-export --export-arn ARN",
            )
        raise SourceLacks(
            f"{where} holds no export of DynamoDB: there is no {SUMMARY}",
            _HINT,
        )
    return Found(tuple(sorted(exports, key=lambda each: (each.from_s, each.to_s, each.id))), tuple(unfinished))


def _without(folders: list[str], left_out: frozenset[str]) -> list[str]:
    ids = [folder.rpartition("/")[2] for folder in folders]
    strangers = left_out - set(ids)
    if strangers:
        known = ", ".join(ids[:10]) + (", …" if len(ids) > 10 else "")
        raise UsageError(f"--leave-out: there is no export {', '.join(sorted(strangers))}", f"There are {known}.")
    return [folder for folder, each in zip(folders, ids, strict=True) if each not in left_out]


def _folders(store: Store, place: str) -> list[str]:
    """The folders of exports; some may be unfinished."""
    if store.head(inside(place, SUMMARY)) is not None or place.rpartition("/")[0].rpartition("/")[2] == ROOT:
        return [place]
    found: list[str] = []
    level = [place]
    looked_into = 0
    for _ in range(DEEPEST):
        below: list[str] = []
        for folder in level:
            looked_into += 1
            if looked_into > MOST_FOLDERS:
                raise UsageError(
                    f"{store.uri}/{place}".rstrip("/") + f" holds more than {MOST_FOLDERS} folders",
                    "Name a prefix that holds fewer: the one that was exported to.",
                )
            inner = [each for each in store.folders(folder) if each.rpartition("/")[2] != DATA]
            (found if folder.rpartition("/")[2] == ROOT else below).extend(inner)
        level = below
    # Elsewhere than in a folder AWSDynamoDB only copies lie, each whole.
    return found or [folder for folder in store.folders(place) if store.head(inside(folder, SUMMARY)) is not None]


def data_object(store: Store, export: Exported, file: DataFile) -> Object:
    """The data file as it lies there. Its key begins at the bucket's root, with the prefix or (in AWS's samples)
    without; in a copy the tree may begin further down. SourceLacks where there is none."""
    key = file.data_file_s3_key
    base = export.folder.rpartition("/")[0]  # …/AWSDynamoDB
    tail = key.rpartition(f"{ROOT}/")[2]
    candidates = dict.fromkeys(
        (inside(base, tail), key, inside(export.prefix, key), f"{inside(export.folder, DATA)}/{key.rpartition('/')[2]}")
    )
    for path in candidates:
        if (found := store.head(path)) is not None:
            return found
    raise SourceLacks(
        f"{store.uri}/{inside(base, tail)} is not there, and the manifest of export {export.id} names it",
        "Copy the export again, with its data files, or have it exported once more.",
    )


def checked(store: Store, exports: Iterable[Exported], digests: dict[str, str]) -> list[str]:
    """The ids of those exports whose manifests are not those of that digest any more."""

    def differs(export: Exported) -> bool:
        found = read_export(store, export.folder)
        return found is None or found[0].digest != digests[export.id]

    known = [export for export in exports if export.id in digests]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [export.id for export, other in zip(known, pool.map(differs, known), strict=True) if other]
