"""How far an archive is: the last file of each shard. It costs the same however old the archive is."""

from __future__ import annotations

from collections.abc import Mapping

from restrike.archive.footer import damaged
from restrike.archive.layout import SUFFIX, DataFile, StreamName, data_file, hour_folder, hour_of, stream_name
from restrike.archive.opened import Opened
from restrike.stores.objects import Object, ObjectFile, Store

REMEMBERED_HOURS = 26
"""A stream remembers 24 hours. A run of records that is filed under an older hour ends before what it remembers."""


def last_files(store: Store, stream: StreamName, floors: Mapping[str, int], now_s: float) -> dict[str, DataFile]:
    """The last file of each of those shards, among those of the hours that the stream remembers.

    `floors`: the shards, each with an hour before which its last file cannot be. Reads folders from the newest on, and
    no more of them than are needed: one beyond the first that has a file of the shard, since a run that begins
    with a straggler is filed an hour before the one that it follows.
    """
    found: dict[str, DataFile] = {}
    newest = hour_of(now_s) + 1  # their clock may be ahead of ours
    wanted = {shard: max(floor, newest - 1 - REMEMBERED_HOURS) for shard, floor in floors.items()}
    hour = newest
    while wanted:
        wanted = {shard: floor for shard, floor in wanted.items() if floor <= hour}
        if not wanted:
            break
        for file in files_of_hour(store, stream, hour):
            if file.shard in wanted and (file.shard not in found or file.first > found[file.shard].first):
                found[file.shard] = file
                wanted[file.shard] = max(wanted[file.shard], file.hour - 1)
        hour -= 1
    return found


def files_of_hour(store: Store, stream: StreamName, hour: int) -> list[DataFile]:
    """The hour's data files; what else lies in its folder is left out."""
    return split(store.objects(hour_folder(stream, hour)))[0]


def split(listed: list[Object]) -> tuple[list[DataFile], list[Object]]:
    """The data files of a listing, and what looks like one and has no name of one's."""
    files, strangers = [], []
    for each in listed:
        file = data_file(each.path, each.size_bytes, each.etag)
        if file is not None:
            files.append(file)
        elif each.path.endswith(SUFFIX):
            strangers.append(each)
    return files, strangers


def opened(store: Store, file: DataFile) -> tuple[Opened, ObjectFile]:
    """The file with its footer read, and what reads it.

    Raises Damaged, also where it is not what its name says, and Changed where it is gone or was written over."""
    source = ObjectFile(store, Object(file.path, file.size_bytes, file.etag))
    found = Opened(source, f"{store.uri}/{file.path}")
    about = found.about
    name = stream_name(about.stream_arn)
    if (about.shard, int(about.first)) != (file.shard, file.first) or name is None or name.folder not in file.path:
        raise damaged(found.path, f"it holds records of {name}, {about.shard} from {about.first} on")
    return found, source
