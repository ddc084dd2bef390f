"""Records made of items: what is made up in them, and what is the item's own bytes."""

from __future__ import annotations

import hashlib
import time

import msgspec

from restrike.model.record import EventName, Record
from restrike.model.synthetic import made_up_number
from restrike.model.table import TableInfo

NO_STREAM = "/stream/1970-01-01T00:00:00.000"


class Maker:
    """Makes records of items: all that is the same in each is made once."""

    def __init__(self, table: TableInfo, as_event: EventName, *, old_image: bool, salt: str) -> None:
        self.stream_arn = table.stream_arn or table.arn + NO_STREAM
        self.view_type = table.view_type or "NEW_AND_OLD_IMAGES"
        self._event = as_event
        self._new = as_event != "REMOVE" and self.view_type in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES")
        old = as_event == "REMOVE" or (as_event == "MODIFY" and old_image)
        self._old = old and self.view_type in ("OLD_IMAGE", "NEW_AND_OLD_IMAGES")
        self._digest = hashlib.blake2b(
            b"\0".join(each.encode() for each in (salt, table.arn, as_event)), digest_size=16
        )
        self._before_time = (
            b'","eventName":"%b","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":%b,'
            b'"dynamodb":{"ApproximateCreationDateTime":' % (as_event.encode(), msgspec.json.encode(table.region))
        )
        self._tail = b',"StreamViewType":"%b"},"eventSourceARN":%b}' % (
            self.view_type.encode(),
            msgspec.json.encode(self.stream_arn),
        )

    def record(self, shard: str, strand: int, ordinal: int, key: bytes, item: bytes) -> Record:
        number = made_up_number(strand, ordinal)
        created_s = int(time.time())
        digest = self._digest.copy()
        digest.update(b"%b\0%b" % (number.encode(), key))
        image = (b',"NewImage":' + item if self._new else b"") + (b',"OldImage":' + item if self._old else b"")
        size_bytes = len(key) + len(item) * (self._new + self._old)
        raw = b"".join(
            (
                b'{"eventID":"',
                digest.hexdigest().encode(),
                self._before_time,
                b"%d" % created_s,
                b',"Keys":',
                key,
                image,
                b',"SequenceNumber":"%b","SizeBytes":%d' % (number.encode(), size_bytes),
                self._tail,
            )
        )
        return Record(raw, shard, ordinal, self._event, key, number, float(created_s), self.stream_arn, "synthetic")
