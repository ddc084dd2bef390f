"""What `restrike demo` tells: the story of a day, with numbers measured on a DynamoDB Local of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

import restrike
from restrike.archive import require_packages
from restrike.aws import dynamodb
from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.cli.render.console import Asked, Heedless
from restrike.cli.render.streams import put_json
from restrike.errors import UsageError, VerificationFailed
from restrike.local import bookkeeper
from restrike.local.bookkeeper import FOLDER
from restrike.local.demo import (
    DAYS,
    INDEX,
    LOST_DAY,
    ORDERS_A_DAY,
    TABLE,
    Books,
    Consumer,
    Item,
    Shop,
    nobodys_environment,
    orders,
    settings,
    usd,
)
from restrike.local.dynamodb_local import start_owned
from restrike.model.failure import Failure, Pointer, message_of
from restrike.model.numbers import duration, money
from restrike.model.record import Record, images
from restrike.model.report import RedriveReport
from restrike.running.ledger import Ledger
from restrike.running.spool import Spool
from restrike.touching.plan import TouchPlan
from restrike.touching.request import command_line

RUN = "demo"
CONSUMER = "demo-consumer"
FAILURES = "given-up"
GIVEN_UP = 10


def demo(*, as_json: bool, keep_books: Callable[[Path, str], Books] = Books) -> None:
    """Plays the demo, with other books where a test wants to see it fail; VerificationFailed where a number is wrong.

    The story is on stdout; with `as_json` the numbers are, and the story is on stderr.
    """
    stream, kind = (sys.stderr, Heedless) if as_json else (sys.stdout, Asked)
    console = kind(file=stream, highlight=False, width=None if stream.isatty() else 100)
    with start_owned() as server, Spool() as folder, nobodys_environment():
        os.environ[FOLDER] = folder  # the handler's process has this one's environment
        os.environ["XDG_STATE_HOME"] = folder  # where those who touch a table tell each other
        story = Story(console, server.endpoint_url, Path(folder) / "ledger.db", keep_books(Path(folder), LOST_DAY))
        asyncio.run(story.tell())
    if as_json:
        put_json(story.as_json())
    if story.wrong:
        raise VerificationFailed(
            f"the demo measured what should not be: {'; '.join(story.wrong)}",
            "On an unchanged Restrike this is a bug. Please report it with the output of: restrike demo --json",
        )


class Story:
    """Told in chapters. Each number is measured, told, kept for `as_json`, and held against what it should be."""

    def __init__(self, console: Console, endpoint_url: str, ledger: Path, books: Books) -> None:
        self.wrong: list[str] = []
        self._console = console
        self._aws = settings(endpoint_url)
        self._ledger = ledger
        self._books = books
        self._archive = str(books.folder / "archive")
        self._numbers: dict[str, int] = {}
        self._records_before = 0
        self._elapsed_s = 0.0

    def as_json(self) -> dict[str, Any]:
        return {"ok": not self.wrong, "wrong": self.wrong, "elapsed_s": self._elapsed_s, "numbers": self._numbers}

    async def tell(self) -> None:
        began = time.monotonic()
        aws = Aws(self._aws)
        async with dynamodb.connect(aws, connections=8) as wire:
            shop = Shop(wire)
            await shop.open()
            async with Consumer(self._books, self._consume) as reader:
                await self._load(shop, reader)
                lost = await self._bug(shop)
                await self._put_back(shop, reader, lost)
                plan = await self._plan()
                await self._touch(shop, reader, plan, lost)
                await self._again(shop, reader)
                await self._differences(shop, reader)
                await self._given_up(shop, reader)
                await self._audit(shop, reader)
                with Ledger(self._ledger) as ledger:
                    ledger.set_state(CONSUMER, "CANCELLING")
                await reader.until_gone()
        self._elapsed_s = round(time.monotonic() - began, 1)
        end = "[bold red]Not all[/]" if self.wrong else f"[bold green]All {len(self._numbers)}[/]"
        self._console.print(f"\n{end} numbers are what they should be. Measuring them took {self._elapsed_s} s.")

    # ── the chapters ─────────────────────────────────────────────────────────────────────────────────────

    async def _load(self, shop: Shop, reader: Consumer) -> None:
        where = self._aws.endpoint_url
        self._console.print(f"[bold]Ten days of a shop's orders[/], on a DynamoDB Local at {where}")
        items = orders()
        await shop.load(items)
        self._number("loaded_records", "records on its stream", await self._new_records(shop, reader), len(items))

    async def _bug(self, shop: Shop) -> list[Item]:
        self._chapter(1, f"A consumer keeps books from the stream. By a bug it drops {LOST_DAY}.")
        lost = await shop.orders_of(LOST_DAY)
        should_miss = usd(order for order in orders() if order["created_ymd"]["S"] == LOST_DAY)
        self._number("in_table", "orders of that day in the table", len(lost), ORDERS_A_DAY)
        self._number("in_books_before", "of them in its books", self._booked(lost), 0)
        self._number("usd_missing_before", "dollars missing", self._usd_missing(lost), should_miss)
        others = (len(DAYS) - 1) * ORDERS_A_DAY
        self._number("other_days_in_books", "orders of the other days in its books", self._books.entries, others)
        return lost

    async def _put_back(self, shop: Shop, reader: Consumer, lost: list[Item]) -> None:
        self._chapter(2, "Putting the same items back does not help: what changes nothing fires nothing.")
        self._number("put_back", "items put back as GetItem answers them", await shop.put(lost), ORDERS_A_DAY)
        self._number("put_back_records", "records fired", await self._new_records(shop, reader), 0)

    async def _plan(self) -> TouchPlan:
        self._chapter(3, "The plan of a touch. It writes nothing.")
        plan = await asyncio.to_thread(self._new_plan)
        data = plan.data
        self._number("planned", f"items selected, {data.items.how}", data.items.count or 0, ORDERS_A_DAY)
        on_your_table = msgspec.structs.replace(plan.request, ledger=None, aws=AwsSettings())
        rows = Table.grid(padding=(0, 2, 0, 0))
        rows.add_column(style="dim", no_wrap=True)
        rows.add_column(overflow="fold")
        for name, value in (
            ("selection", data.selection),
            ("for example", "".join(data.sample_keys[:1])),
            ("writes", f"attribute {data.attribute} = {data.run!r}"),
            ("capacity", f"{data.estimate.wru or 0:,.0f} write units, {money(data.estimate.usd or 0)}"),
            ("duration", f"{duration(data.estimate.seconds or 0)} at {data.rate}"),
            ("proof", data.verify_why),
            *(("warning", warning.message) for warning in data.warnings),
            ("to do it", command_line(on_your_table, RUN)),
        ):
            rows.add_row(name, escape(value))
        self._console.print(Padding(rows, (0, 0, 0, 8)))
        return plan

    async def _touch(self, shop: Shop, reader: Consumer, plan: TouchPlan, lost: list[Item]) -> None:
        self._chapter(4, f"The bug is fixed, and {LOST_DAY} is touched.")
        self._books.drop(None)
        # In a thread, so that this one goes on reading the stream.
        report = await asyncio.to_thread(plan.execute)
        records = await self._new_records(shop, reader)
        self._number("touched", "touched", report.fired, ORDERS_A_DAY)
        self._number("proved", "seen on the stream by the touch", report.seen or 0, ORDERS_A_DAY)
        self._number("touch_records", "seen on the stream by the consumer", records, ORDERS_A_DAY)
        self._number("in_books_after", "now in its books", self._booked(lost), ORDERS_A_DAY)
        self._number("usd_missing_after", "dollars missing", self._usd_missing(lost), 0)

    async def _again(self, shop: Shop, reader: Consumer) -> None:
        self._chapter(5, "The same run started over fires nothing: a run touches an item once.")
        plan = await asyncio.to_thread(self._new_plan, again=True)
        report = await asyncio.to_thread(plan.execute)
        self._number("again_already", "touched already", report.already, ORDERS_A_DAY)
        self._number("again_touched", "touched", report.fired, 0)
        self._number("again_records", "records fired", await self._new_records(shop, reader), 0)

    async def _differences(self, shop: Shop, reader: Consumer) -> None:
        self._chapter(6, "Another consumer books NewImage minus OldImage, and had the same bug.")
        try:
            require_packages()
        except UsageError as error:
            self._console.print(f"        {error.message}: {error.hint}", markup=False)
            return
        capture = await asyncio.to_thread(
            lambda: restrike.capture(
                TABLE,
                self._archive,
                ledger=str(self._ledger),
                region=self._aws.region,
                endpoint_url=self._aws.endpoint_url,
            ).execute()
        )
        every = len(orders()) + ORDERS_A_DAY + shop.fences
        self._number("captured", "records captured into an archive", capture.records, every)
        marked = {"dynamodb": {"NewImage": {"restrike": {"S": [RUN]}}}}
        self._number("touch_handed", "of them from the touch, handed to it", await self._hand(marked), ORDERS_A_DAY)
        self._number("touch_differences", "dollars booked: their OldImage is today's", self._books.differences(), 0)
        first = {"eventName": ["INSERT"], "dynamodb": {"NewImage": {"created_ymd": {"S": [LOST_DAY]}}}}
        self._number("archive_handed", "of them from that day, replayed to it", await self._hand(first), ORDERS_A_DAY)
        booked = self._books.differences()
        lost = usd(order for order in orders() if order["created_ymd"]["S"] == LOST_DAY)
        self._number("archive_differences", "dollars booked: they have the images of the first time", booked, lost)
        self._number("archive_records", "records fired", await self._new_records(shop, reader), 0)

    async def _given_up(self, shop: Shop, reader: Consumer) -> None:
        self._chapter(7, f"A mapping gave up on {GIVEN_UP} records. What it left is a pointer into the stream.")
        records = await asyncio.to_thread(self._write_failure)
        before = self._books.differences()
        plan = await asyncio.to_thread(
            lambda: restrike.redrive(
                str(self._books.folder / FAILURES),
                f"handler:{bookkeeper.__name__}:{bookkeeper.differences.__name__}",
                if_superseded="send",
                ledger=str(self._ledger),
                region=self._aws.region,
                endpoint_url=self._aws.endpoint_url,
            )
        )
        report = await asyncio.to_thread(plan.execute)
        assert isinstance(report, RedriveReport)
        self._number("redriven", "records that a redrive brought", report.delivered, GIVEN_UP)
        should_book = usd(images(record).new_image or {} for record in records)
        missing = should_book - (self._books.differences() - before)
        self._number("redriven_usd_missing", "dollars of theirs that are not booked", missing, 0)
        self._number("redriven_records", "records fired", await self._new_records(shop, reader), 0)

    async def _audit(self, shop: Shop, reader: Consumer) -> None:
        self._chapter(8, "Are the books right now? An audit compares every item with their last line of it.")
        await reader.read_to(await shop.fence())
        plan = await asyncio.to_thread(
            lambda: restrike.audit(
                TABLE,
                str(self._books.folder / bookkeeper.LINES),
                on="total",
                map="usd=total",
                as_of="0s",
                ledger=str(self._ledger),
                region=self._aws.region,
                endpoint_url=self._aws.endpoint_url,
            )
        )
        report = await asyncio.to_thread(plan.execute)
        self._number("audit_equal", "items, the same in both: equal", report.equal, len(orders()) + shop.fences)
        self._number("audit_differences", "differences", report.ours - report.equal + report.extra, 0)

    def _write_failure(self) -> list[Record]:
        """The message that Lambda would have left of the first records; those records."""
        found = restrike.records(
            f"stream:{TABLE}", limit=GIVEN_UP, region=self._aws.region, endpoint_url=self._aws.endpoint_url
        )
        records = list(found)
        first, last = records[0], records[-1]
        pointer = Pointer(
            first.stream_arn, first.shard, first.place, last.place, first.created_s, last.created_s, len(records)
        )
        folder = self._books.folder / FAILURES
        folder.mkdir()
        failure = Failure("mapping", pointer, condition="RetryAttemptsExhausted")
        (folder / "message.json").write_bytes(message_of(failure))
        return records

    async def _hand(self, pattern: dict[str, Any]) -> int:
        """Replays what matches from the archive to the consumer of differences; how many records it took."""
        plan = await asyncio.to_thread(
            lambda: restrike.replay(
                f"archive:{self._archive}",
                f"handler:{bookkeeper.__name__}:{bookkeeper.differences.__name__}",
                pattern=json.dumps(pattern),
                ledger=str(self._ledger),
                region=self._aws.region,
                endpoint_url=self._aws.endpoint_url,
            )
        )
        return (await asyncio.to_thread(plan.execute)).delivered

    # ── measuring ────────────────────────────────────────────────────────────────────────────────────────

    async def _new_records(self, shop: Shop, reader: Consumer) -> int:
        """How many records were written since it was last asked; when it returns, the books have them too."""
        await reader.read_to(await shop.fence())
        before, self._records_before = self._records_before, reader.records
        return reader.records - before

    def _consume(self) -> None:
        """What `restrike replay stream:orders --follow --to handler:… --execute` does, until it is cancelled."""
        restrike.replay(
            f"stream:{TABLE}",
            f"handler:{bookkeeper.__name__}:handler",
            follow=True,
            since="1h",
            run=CONSUMER,
            ledger=str(self._ledger),
            region=self._aws.region,
            endpoint_url=self._aws.endpoint_url,
        ).execute()

    def _new_plan(self, *, again: bool = False) -> TouchPlan:
        return restrike.touch(
            TABLE,
            index=INDEX,
            date=LOST_DAY,
            run=RUN,
            again=again,
            ledger=str(self._ledger),
            region=self._aws.region,
            endpoint_url=self._aws.endpoint_url,
        )

    def _booked(self, items: list[Item]) -> int:
        return sum(self._books.hold(order) for order in items)

    def _usd_missing(self, items: list[Item]) -> int:
        return usd(order for order in items if not self._books.hold(order))

    # ── telling ──────────────────────────────────────────────────────────────────────────────────────────

    def _chapter(self, number: int, text: str) -> None:
        self._console.print(f"\n[bold]{number}  {text}[/]")

    def _number(self, name: str, label: str, measured: int, expected: int) -> None:
        self._numbers[name] = measured
        line = f"{measured:>7,} {label}"
        if measured != expected:
            self.wrong.append(f"{label} ({name}): expected {expected:,}, measured {measured:,}")
            line = f"[red]{line}; expected {expected:,}[/]"
        self._console.print(line)
