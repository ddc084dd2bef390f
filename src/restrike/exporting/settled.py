"""An export as planning settled it: what its run needs to go on, and what is told of it."""

from __future__ import annotations

import shlex
from typing import Any

import msgspec

from restrike.aws.settings import FLAGS, AwsSettings
from restrike.exporting.cutting import Span
from restrike.exporting.request import TIMEOUT_S, ExportRequest, Place
from restrike.exporting.run import Counts
from restrike.model.flags import words
from restrike.model.report import ExportReport, State
from restrike.model.table import TABLE_ID
from restrike.model.times import iso


class Settled(msgspec.Struct, frozen=True):
    """`parameters` are what each call has alike; `aws` is where they go."""

    request: ExportRequest
    table_arn: str
    table_id: str
    place: Place
    spans: tuple[Span, ...]
    parameters: dict[str, Any]
    aws: AwsSettings

    @property
    def timeout_s(self) -> float:
        return TIMEOUT_S if self.request.timeout_s is None else self.request.timeout_s

    def identity(self) -> dict[str, str]:
        """What makes it this run and no other, in named parts."""
        spans = self.spans
        parts = {
            "table": self.table_arn,
            TABLE_ID: self.table_id,
            "span": f"{iso(spans[0][0])} to {iso(spans[-1][1])}",
            "windows": f"{len(spans)} of {spans[0][1] - spans[0][0]} s",
            "--to": str(self.place),
            "--key": self.request.key or "",
            "--bucket-owner": self.request.bucket_owner or "",
            "--kms-key": self.request.kms_key or "",
        }
        return {name: text for name, text in parts.items() if text}

    def token_identity(self) -> str:
        """What the client tokens are made of besides the window: equal for whoever asks for the same."""
        return "\0".join((self.table_id, *map(str, sorted(self.parameters.items()))))


def replay_command(settled: Settled) -> str:
    """The command that plans a replay of what was exported."""
    since, until = iso(settled.spans[0][0]), iso(settled.spans[-1][1])
    line = ["restrike", "replay", f"export:{settled.place}", "--since", since, "--until", until]
    return f"{shlex.join([*line, *words(FLAGS, settled.request.aws)])} --to TARGET"


def report_of(run: str, settled: Settled, state: State, counts: Counts, elapsed_s: float) -> ExportReport:
    return ExportReport(
        run=run,
        table=settled.table_arn.rpartition("/")[2],
        to=str(settled.place),
        state=state,
        since=iso(settled.spans[0][0]),
        until=iso(settled.spans[-1][1]),
        windows=counts.windows,
        completed=counts.completed,
        under_way=counts.under_way,
        failed=counts.failed,
        started=counts.started,
        found=counts.found,
        items=counts.items,
        billed_bytes=counts.billed_bytes,
        elapsed_s=elapsed_s,
        replay=replay_command(settled),
    )
