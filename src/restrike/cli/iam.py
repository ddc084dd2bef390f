"""`restrike iam`: the least policy that a verb needs, as IAM takes it. Changes nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from restrike import sources, targets
from restrike.auditing.request import AuditRequest
from restrike.aws import settings
from restrike.aws.settings import AwsSettings
from restrike.capturing.request import CaptureRequest
from restrike.cli import candidates
from restrike.cli.audit import AGAINST
from restrike.cli.capture import ARCHIVE as CAPTURED
from restrike.cli.export import PLACE
from restrike.cli.flags import TARGET
from restrike.cli.options import VerbGroup, aws_settings
from restrike.diagnosing.request import FLAGS as DOCTOR_FLAGS
from restrike.diagnosing.request import DoctorRequest
from restrike.errors import UsageError
from restrike.exporting.request import FLAGS as EXPORT_FLAGS
from restrike.exporting.request import ExportRequest
from restrike.model.flags import Flag, given
from restrike.model.permissions import UNKNOWN, Need, Scope
from restrike.replaying.redriving.request import ARCHIVE, OWN, RedriveRequest
from restrike.replaying.request import FLAGS as REPLAY_FLAGS
from restrike.replaying.request import ReplayRequest
from restrike.running.flags import LEDGER
from restrike.selecting import request as selecting
from restrike.selecting.permissions import NEEDED_BY
from restrike.selecting.request import SelectionRequest
from restrike.touching.request import FLAGS as TOUCH_FLAGS
from restrike.touching.request import TouchRequest

Needs = Callable[[Scope], tuple[Need, ...]]


def _those(flags: tuple[Flag, ...], *fields: str) -> tuple[Flag, ...]:
    return tuple(flag for flag in flags if flag.to in fields)


CHOOSING = _those(selecting.FLAGS, *NEEDED_BY)
WRITING = _those(TOUCH_FLAGS, "api", "verify", "max_lag")
SUPERSEDED = _those(REPLAY_FLAGS, "if_superseded")
KEPT = _those(DOCTOR_FLAGS, "archive", "export", "failures")
KMS_KEY = _those(EXPORT_FLAGS, "kms_key")
CONSUMER = Flag("--consumer", "With --to original: the function that the messages are of.", "deliver", metavar="NAME")
TABLE = Flag("--table", "The table of the records, where SOURCE does not name it.", "records", metavar="NAME")
ACCOUNT = Flag("--account", "The account of the resources.", "aws", metavar="ID", default="the caller's")
OFFLINE = Flag("--offline", "Ask AWS for nothing: no account, no KMS keys.", "aws", "switch")
WHERE = (ACCOUNT, OFFLINE, *settings.FLAGS)


@click.group(cls=VerbGroup)
def command() -> None:
    """Print the least IAM policy that a verb needs: `restrike iam VERB …`, with the words of the verb itself.

    The policy alone is on stdout, what is to be known about it on stderr. What a verb works without has statements of
    its own, called Optional…, which may be deleted.
    """


@command.verb("touch", *CHOOSING, *WRITING, *WHERE, examples=("restrike iam touch orders --index by_created_ymd",))
@click.argument("table", shell_complete=candidates.tables)
def touch(table: str, **values: Any) -> int:
    """For restrike touch TABLE."""
    from restrike.touching.permissions import needs

    return _print(lambda scope: needs(_touch(table, values), scope), values, table)


@command.verb("unmark", *CHOOSING, *WRITING, *WHERE)
@click.argument("table", shell_complete=candidates.tables)
def unmark(table: str, **values: Any) -> int:
    """For restrike unmark TABLE, which reads what its run had chosen."""
    from restrike.touching.permissions import needs

    return _print(lambda scope: needs(_touch(table, values), scope), values, table)


def _touch(table: str, values: dict[str, Any]) -> TouchRequest:
    selection = SelectionRequest(**given(CHOOSING, values))
    return TouchRequest(table=table, selection=selection, **given(WRITING, values))


@command.verb(
    "replay",
    *CHOOSING,
    *(ARCHIVE, TABLE, TARGET, *SUPERSEDED),
    *WHERE,
    examples=("restrike iam replay stream:orders --to lambda:bookkeeper",),
)
@click.argument("source", shell_complete=candidates.sources)
def replay(source: str, to: str | None, **values: Any) -> int:
    """For restrike replay SOURCE --to TARGET."""
    from restrike.replaying.permissions import needs

    if to is None:
        raise UsageError("no target is named", f"Give --to. {targets.forms()}")
    _refuse_table(source, values)
    request = ReplayRequest(
        source, to, source_options=given((*CHOOSING, ARCHIVE), values), if_superseded=values["if_superseded"]
    )
    return _print(lambda scope: needs(request, scope), values)


@command.verb("records", *CHOOSING, ARCHIVE, TABLE, *WHERE)
@click.argument("source", shell_complete=candidates.sources)
def records(source: str, **values: Any) -> int:
    """For restrike records SOURCE."""
    from restrike.replaying.permissions import of_source

    _refuse_table(source, values)
    request = ReplayRequest(source, "-", source_options=given((*CHOOSING, ARCHIVE), values))
    return _print(lambda scope: of_source(request, scope), values)


def _refuse_table(source: str, values: dict[str, Any]) -> None:
    """UsageError where the source names the table already."""
    uri = sources.parse_source(source, Path.cwd())
    if values["table"] is not None and sources.kind_of(uri.scheme).has_table:
        raise UsageError(f"{source} names its table", "Leave out --table.")


@command.verb(
    "redrive",
    *(ARCHIVE, *OWN, TABLE, TARGET, CONSUMER, *SUPERSEDED),
    *WHERE,
    examples=("restrike iam redrive sqs://given-up --to original --table orders --consumer bookkeeper",),
)
@click.argument("failures")
def redrive(failures: str, to: str | None, consumer: str | None, **values: Any) -> int:
    """For restrike redrive FAILURES --to TARGET."""
    from restrike.replaying.redriving.permissions import needs

    asked = ReplayRequest(
        failures, to or "", source_options=given((ARCHIVE,), values), if_superseded=values["if_superseded"]
    )
    request = RedriveRequest(asked, **given(OWN, values))
    return _print(lambda scope: needs(request, scope, consumer), values)


@command.verb("capture", CAPTURED, *WHERE, examples=("restrike iam capture orders --to s3://bucket/kept",))
@click.argument("table", shell_complete=candidates.tables)
def capture(table: str, to: str | None, **values: Any) -> int:
    """For restrike capture TABLE --to ARCHIVE."""
    from restrike.capturing.permissions import needs

    if not to:
        raise UsageError("no archive is named", "Give --to FOLDER or --to s3://bucket/prefix.")
    request = CaptureRequest(table, to)
    return _print(lambda scope: needs(request, scope), values, table)


@command.verb("export", PLACE, *KMS_KEY, *WHERE, examples=("restrike iam export orders --to s3://bucket/prefix",))
@click.argument("table", shell_complete=candidates.tables)
def export(table: str, to: str | None, **values: Any) -> int:
    """For restrike export TABLE --to s3://bucket/prefix."""
    from restrike.exporting.permissions import needs

    if not to:
        raise UsageError("no place is named", "Give --to s3://bucket/prefix.")
    request = ExportRequest(table, to, kms_key=values["kms_key"])
    return _print(lambda scope: needs(request, scope), values, table)


@command.verb("doctor", *KEPT, *WHERE)
@click.argument("table", shell_complete=candidates.tables)
def doctor(table: str, **values: Any) -> int:
    """For restrike doctor TABLE."""
    from restrike.diagnosing.permissions import needs

    request = DoctorRequest(table, **given(KEPT, values))
    return _print(lambda scope: needs(request, scope), values, table)


@command.verb(
    "audit", AGAINST, *CHOOSING, ARCHIVE, *WHERE, examples=("restrike iam audit orders --against table:copy",)
)
@click.argument("table", shell_complete=candidates.tables)
def audit(table: str, against: str | None, **values: Any) -> int:
    """For restrike audit TABLE --against WHAT."""
    from restrike.auditing.permissions import needs

    if not against:
        raise UsageError("it is not said what the table is compared with", "Give --against FILE, table:NAME or -.")
    selection = SelectionRequest(**given(CHOOSING, values))
    request = AuditRequest(table, against, selection, archive=values["archive"])
    return _print(lambda scope: needs(request, scope), values, table)


@command.verb("archive", *WHERE, examples=("restrike iam archive compact s3://bucket/kept",))
@click.argument("verb", metavar="stat|ls|verify|compact|prune")
@click.argument("archive")
def archive(verb: str, archive: str, **values: Any) -> int:
    """For restrike archive stat, ls, verify, compact and prune, the last two with --execute."""
    from restrike.archive.permissions import VERBS, needs

    if verb not in VERBS:
        raise UsageError(f"there is no restrike archive {verb}", f"There are {', '.join(VERBS)}.")
    return _print(lambda scope: needs(verb, archive, scope), values)


@command.verb("runs", LEDGER, *WHERE)
@click.argument("words", nargs=-1, required=True, metavar="[resume] NAME", shell_complete=candidates.runs)
def runs(words: tuple[str, ...], ledger: str | None, **values: Any) -> int:
    """For restrike runs resume NAME; to list, show, pause and cancel runs asks AWS for nothing."""
    from restrike.running.ledger import Ledger, ledger_path
    from restrike.verbs import needs_of

    *before, name = words
    if before not in ([], ["resume"]):
        raise UsageError(
            f"restrike runs {' '.join(words)}: of restrike runs, resume alone asks AWS",
            "Write restrike iam runs resume NAME.",
        )
    with Ledger(ledger_path(ledger), read_only=True) as book:
        needs, its = needs_of(book.get(name))
    told = aws_settings(values)
    changed = {field: value for field in AwsSettings.__struct_fields__ if (value := getattr(told, field)) is not None}
    return _print(needs, values, at=msgspec.structs.replace(its, **changed))


def _print(needs: Needs, values: dict[str, Any], table: str | None = None, at: AwsSettings | None = None) -> int:
    """The policy on stdout, and what is to be known about it on stderr. A table that is named by its ARN says where it
    is."""
    from restrike.aws.dynamodb import check_name
    from restrike.aws.encryption import with_keys
    from restrike.aws.identity import scope_of
    from restrike.aws.session import Aws
    from restrike.cli.render.streams import put, say
    from restrike.model.policy import document, notes

    account, unnamed = values["account"], values.get("table") or UNKNOWN
    if account is not None and not re.fullmatch(r"\d{12}", account):
        raise UsageError(f"--account {account!r} is no account", "An account's id has 12 digits.")
    for name in (table, values.get("table")):
        if name is not None:
            check_name(name)
    needs(Scope())  # refuses what is none before anything is asked
    aws = Aws(aws_settings(values) if at is None else at)
    scope, why_not = scope_of(aws, account, may_ask=not values["offline"])
    if table is not None:
        scope = scope.of(table)
    scope = msgspec.structs.replace(scope, unnamed=unnamed)
    why = "--offline" if values["offline"] else why_not
    found, told = with_keys(aws, scope, needs(scope), why_not=why)
    put(msgspec.json.format(msgspec.json.encode(document(found)), indent=2))
    for note in (*notes(found), *told):
        say(f"restrike: {note}")
    return 0
