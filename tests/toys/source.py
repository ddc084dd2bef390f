"""A toy source: so many bricks of a colour, one record each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from restrike.aws.session import Aws
from restrike.model.flags import Flag
from restrike.model.permissions import Need, Scope
from restrike.model.record import Fidelity, Record, read_record
from restrike.model.uri import Uri
from restrike.model.window import Gap, Window
from restrike.sources import Opening, Resolved, SourceInfo


class Bricks:
    """See `Source` for the contract."""

    fidelity: Fidelity = "synthetic"

    def __init__(self, colour: str, bricks: int) -> None:
        self.uri = f"toy:{colour}"
        self.ended = ""
        self.gaps: list[Gap] = []
        self.drained: set[str] = set()
        self.started_s: float | None = None
        self.stands_on: Mapping[str, str] = {}
        self._bricks = bricks

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held."""

    async def look(self, window: Window) -> SourceInfo:
        return SourceInfo(count=self._bricks, how="counted")

    async def read(self, after: Mapping[str, int], window: Window) -> AsyncGenerator[list[Record], None]:
        for number in range(after.get("box", 0) + 1, self._bricks + 1):
            raw = b'{"eventName":"INSERT","dynamodb":{"Keys":{"brick":{"N":"%d"}},"SequenceNumber":"%d"}}' % (
                number,
                number,
            )
            yield [read_record(raw, shard="box", place=number, stream_arn="", fidelity="synthetic")]
        self.ended = "the box is empty"


class ToyKind:
    scheme = "toy"
    form = "toy:COLOUR"
    flags = (Flag("--bricks", "toy: how many.", "records", "integer", metavar="N"),)
    has_table = False
    has_time = False
    ordered = True
    fidelity: Fidelity = "synthetic"
    spools: tuple[str, ...] = ()

    def parse(self, text: str, folder: Path) -> Uri:
        return Uri("toy", text.removeprefix("toy:"), text)

    def now_s(self, uri: Uri, aws: Callable[[], Aws]) -> float | None:
        return None

    def endless(self, options: Mapping[str, Any]) -> bool:
        return False

    async def resolve(self, uri: Uri, options: Mapping[str, Any], opening: Opening) -> Resolved:
        bricks = options.get("bricks", 1)
        return Resolved(msgspec.json.encode(bricks), {"bricks": str(bricks)})

    def open(self, uri: Uri, resolved: Resolved, opening: Opening) -> Bricks:
        return Bricks(uri.rest, msgspec.json.decode(resolved.state, type=int))

    def permissions(self, uri: Uri, options: Mapping[str, Any], scope: Scope) -> tuple[Need, ...]:
        return ()


KIND = ToyKind()
