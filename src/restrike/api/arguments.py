"""What a caller gave, as the requests take it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from restrike.aws.settings import AwsSettings
    from restrike.model.flags import Flag


def given(flags: Iterable[Flag], values: dict[str, Any]) -> dict[str, Any]:
    """The arguments that were given, by the fields that those flags fill."""
    from restrike.model import flags as flagged

    found = flagged.given(flags, values)
    return found | {"ledger": text(found["ledger"])} if "ledger" in found else found


def aws_of(values: dict[str, Any]) -> AwsSettings:
    from restrike.aws.settings import FLAGS, AwsSettings

    return AwsSettings(**given(FLAGS, values))


def text(path: str | PathLike[str] | None) -> str | None:
    import os

    return None if path is None else os.fspath(path)
