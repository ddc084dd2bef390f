"""A kind of target that only the tests have: what one module has to hold. It keeps what it is given in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from restrike.errors import UsageError
from restrike.model.flags import Flag
from restrike.model.record import Record
from restrike.model.uri import Uri
from restrike.targets import Answer, Opening, Options, Target, TargetInfo, TargetKind

KEPT: dict[str, list[tuple[str, Record]]] = {}
"""Name → (colour, record)."""


class ToyTarget:
    """See `Target`."""

    max_payload_bytes: int | None = None
    stands_on: Mapping[str, str] = {}

    def __init__(self, uri: Uri, colour: str) -> None:
        self.uri = uri.text
        self._name = uri.rest
        self._colour = colour

    async def __aenter__(self) -> Self:
        KEPT.setdefault(self._name, [])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held."""

    @property
    def size_bytes(self) -> int | None:
        return None

    async def attempt(self, records: list[Record]) -> Answer:
        KEPT[self._name] += [(self._colour, record) for record in records]
        return Answer(ok=True)

    async def sync(self) -> None:
        """It is in memory."""


class ToyKind(TargetKind):
    scheme = "toy"
    form = "toy:NAME"
    flags = (Flag("--colour", "toy: what the records are kept in.", "deliver", metavar="NAME"),)

    def parse(self, rest: str, folder: Path) -> Uri:
        if not rest.isalpha():
            raise UsageError(f"{rest!r} is no name", "Use letters.")
        return Uri(self.scheme, rest, f"{self.scheme}:{rest}")

    async def look(self, uri: Uri, options: Options, opening: Opening) -> TargetInfo:
        return TargetInfo(longest_attempt_s=2.0, warnings=(("toy", f"{uri} is a toy"),))

    def open(self, uri: Uri, options: Options, opening: Opening) -> Target:
        return ToyTarget(uri, str(options.get("colour", "white")))


KIND = ToyKind()
