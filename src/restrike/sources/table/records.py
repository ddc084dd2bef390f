"""Records made of items: what is made up in them, and what is the item's own bytes."""

from __future__ import annotations

import hashlib
import time

from restrike.model.record import EventName, Record
from restrike.model.synthetic import NO_STREAM, Frame, made_up_number
from restrike.model.table import TableInfo


class Maker:
    """Makes records of items: all that is the same in each is made once."""

    def __init__(self, table: TableInfo, as_event: EventName, *, old_image: bool, salt: str) -> None:
        self._frame = Frame(
            table.region, table.stream_arn or table.arn + NO_STREAM, table.view_type or "NEW_AND_OLD_IMAGES"
        )
        self.stream_arn, self.view_type = self._frame.stream_arn, self._frame.view_type
        self._event = as_event
        self._new = as_event != "REMOVE" and self._frame.new
        self._old = (as_event == "REMOVE" or (as_event == "MODIFY" and old_image)) and self._frame.old
        self._digest = hashlib.blake2b(
            b"\0".join(each.encode() for each in (salt, table.arn, as_event)), digest_size=16
        )

    def record(self, shard: str, strand: int, ordinal: int, key: bytes, item: bytes) -> Record:
        number = made_up_number(strand, ordinal)
        created_s = int(time.time())
        digest = self._digest.copy()
        digest.update(b"%b\0%b" % (number.encode(), key))
        raw = self._frame.raw(
            digest.hexdigest(),
            self._event,
            created_s,
            key,
            item if self._new else b"",
            item if self._old else b"",
            number,
        )
        return Record(raw, shard, ordinal, self._event, key, number, float(created_s), self.stream_arn, "synthetic")
