"""By which clock an archive is old: its store's where it has one, and this machine's where nothing contradicts it."""

from __future__ import annotations

import contextlib
import time

from restrike.archive.layout import CAPTURES, StreamName
from restrike.archive.state import CaptureState, load
from restrike.errors import SourceLacks
from restrike.model.clocks import MOST_APART_S, check_clock
from restrike.stores.folder import LocalFolder
from restrike.stores.objects import Store


def now_s(store: Store, names: list[StreamName]) -> float:
    """The time (epoch seconds). UsageError where this machine's clock differs from the store's, or from the service's
    as a capture that is at work has written it down."""
    ours_s = time.time()
    theirs_s = store.now_s()
    if theirs_s is not None:
        check_clock(ours_s, theirs_s, f"that of {store.uri}")
        return theirs_s
    for name in names:
        with contextlib.suppress(SourceLacks):
            known = load(store, name)
            if known is not None and _tells(store, name, known[0], ours_s):
                check_clock(ours_s, known[0].saved_s, f"DynamoDB's, by the capture of {name}")
    return ours_s


def stamped_s(store: Store, names: list[StreamName], now_s: float) -> float:
    """The last time that is known of the clock that stamps the archive's files: now, where the store tells it; on a
    disk, which has none to ask, when the archive was last written to. Lists all of it, a day at a time."""
    if not isinstance(store, LocalFolder):
        return now_s
    folders = [CAPTURES, *(folder for name in names for folder in store.folders(name.folder))]
    return min(now_s, max((each.modified_s for folder in folders for each in store.objects(folder)), default=0.0))


def _tells(store: Store, name: StreamName, state: CaptureState, ours_s: float) -> bool:
    """Whether the time in the state is of now: it is of the future, or of a capture that holds its lock and writes it
    every few seconds."""
    if state.saved_s > ours_s:
        return True
    if ours_s - state.saved_s <= MOST_APART_S or state.owner is None or not isinstance(store, LocalFolder):
        return False
    if store.read(name.lock_path) is None:
        return False
    with store.lock(name.lock_path) as alone:
        return not alone
