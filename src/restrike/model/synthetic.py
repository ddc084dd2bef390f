"""Records that no stream has written: their sequence numbers, and the text around an item's own bytes."""

from __future__ import annotations

import msgspec

from restrike.model.record import EventName

NO_STREAM = "/stream/1970-01-01T00:00:00.000"
"""Behind a table's ARN: what stands for its stream where it has none."""
_SYNTHETIC, _NET = "9999", "9998"
_STRAND_DIGITS, _ORDINAL_DIGITS = 6, 30
_MICROS_DIGITS, _HASH_DIGITS = 16, 20
_DIGITS = len(_SYNTHETIC) + _STRAND_DIGITS + _ORDINAL_DIGITS
MOST_MICROS = 10**_MICROS_DIGITS
"""Behind every time that such a number can hold: the year 2286."""


def made_up_number(strand: int, ordinal: int) -> str:
    """A SequenceNumber of 40 digits, the most that there are: 9999, the strand, the ordinal. It ascends in a strand."""
    return f"{_SYNTHETIC}{strand:0{_STRAND_DIGITS}d}{ordinal:0{_ORDINAL_DIGITS}d}"


def timed_number(micros: int, hashed: int, *, net: bool) -> str:
    """A SequenceNumber of 40 digits for an item as of a time (microseconds of the epoch), by a hash of 64 bits of its
    key: 9998 for a net change, 9999 for an item, the time, the hash. It rises with the time, and is the same whenever
    it is made."""
    return f"{_NET if net else _SYNTHETIC}{micros:0{_MICROS_DIGITS}d}{hashed:0{_HASH_DIGITS}d}"


def is_made_up(sequence_number: str) -> bool:
    """Whether it was made for an item: no stream has numbers of that length that begin so."""
    return len(sequence_number) == _DIGITS and sequence_number.startswith(_SYNTHETIC)


def is_net(sequence_number: str) -> bool:
    """Whether it was made for the net change of a window."""
    return len(sequence_number) == _DIGITS and sequence_number.startswith(_NET)


def shows(view_type: str) -> tuple[bool, bool]:
    """Whether records of a stream of that view type have the new image, and the old one."""
    return view_type in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES"), view_type in ("OLD_IMAGE", "NEW_AND_OLD_IMAGES")


class Frame:
    """What stands around keys and images in a record of Lambda's; what is the same in each is made once."""

    def __init__(self, region: str, stream_arn: str, view_type: str) -> None:
        self.stream_arn = stream_arn
        self.view_type = view_type
        self.new, self.old = shows(view_type)
        names: tuple[EventName, ...] = ("INSERT", "MODIFY", "REMOVE")
        self._before_time = {
            name: b'","eventName":"%b","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":%b,'
            b'"dynamodb":{"ApproximateCreationDateTime":' % (name.encode(), msgspec.json.encode(region))
            for name in names
        }
        self._tail = b',"StreamViewType":"%b"},"eventSourceARN":%b}' % (
            view_type.encode(),
            msgspec.json.encode(stream_arn),
        )

    def raw(
        self,
        event_id: str,
        event: EventName,
        created_s: int,
        keys: bytes,
        new: bytes,
        old: bytes,
        number: str,
    ) -> bytes:
        """The record; an image that is empty is left out. SizeBytes is an approximation."""
        size_bytes = len(keys) + len(new) + len(old)
        return b"".join(
            (
                b'{"eventID":"',
                event_id.encode(),
                self._before_time[event],
                b'%d,"Keys":' % created_s,
                keys,
                b',"NewImage":' if new else b"",
                new,
                b',"OldImage":' if old else b"",
                old,
                b',"SequenceNumber":"%b","SizeBytes":%d' % (number.encode(), size_bytes),
                self._tail,
            )
        )
