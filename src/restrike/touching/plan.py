"""Plan a touch: look at the table, the selection and who reads the stream; write nothing."""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec

from restrike.aws import dynamodb, lambda_, streams
from restrike.aws.session import Aws
from restrike.aws.wire import Wire
from restrike.errors import AccessDenied, AwsError, UsageError
from restrike.model import cost
from restrike.model.pattern import compile_criteria
from restrike.model.plan import Consumer, Estimate, Items, Planned, PlanWarning, TouchPlan
from restrike.model.report import TouchReport
from restrike.model.selection import KeyList, KeyQuery, Scan, Selection, Strand, identity, projected, strands
from restrike.model.table import AttributeValue, TableInfo, canonical_key, key_value
from restrike.runs.ledger import Ledger, Run, check_run_name
from restrike.runs.names import default_name
from restrike.runs.stop import run_to_end
from restrike.selecting.keyfile import KeyFile
from restrike.touching.engine import OnProgress, Options, Touch
from restrike.touching.pace import PaceOptions, seconds_on_one_partition
from restrike.touching.request import TouchRequest, command, resolve
from restrike.touching.writer import read_attribute

COUNT_PAGES = 25  # of COUNT queries; more items than these hold are "at least"
SAMPLE_ITEMS = 100
SHOWN_KEYS = 5
EXAMINED_ITEMS = 5  # read whole, to try the consumers' filters on
SAFE_READERS = 1  # known readers of a shard that leave room for one more


class Saved(msgspec.Struct, frozen=True):
    """What the ledger keeps of a touch: enough to go on from another process."""

    selection: Selection
    options: Options
    request: TouchRequest
    wcu_per_item: float


class Plan(Planned[TouchPlan]):
    """What a touch would do (`data`), and the way to do it. Writes nothing until `execute`."""

    def __init__(
        self, request: TouchRequest, aws: Aws, table: TableInfo, data: TouchPlan, saved: Saved, spool: Path | None
    ) -> None:
        self.request = request
        super().__init__(data)
        self._aws = aws
        self._table = table
        self._saved = saved
        self._spool = spool

    def execute(self, on_progress: OnProgress | None = None) -> TouchReport:
        """Runs it, or goes on with a run of that name; returns the report.

        Raises UsageError where the name belongs to another selection or another run is active on the table,
        AwsError where AWS refuses; what is done by then is saved and can be resumed.
        """
        name = self.data.run
        with Ledger(_path(self.request.ledger)) as ledger:
            ledger.acquire(name)
            run, resumed = self._enter(ledger, name)
            return _execute(self._aws, self._table, self._saved, ledger, run, resumed, on_progress)

    def discard(self) -> None:
        """Removes the spooled keys of a plan that is not executed."""
        if self._spool is not None:
            self._spool.unlink(missing_ok=True)

    def _enter(self, ledger: Ledger, name: str) -> tuple[Run, bool]:
        """The run's row, made or taken up, and whether an earlier part of it may have written."""
        saved, table = self._saved, self._table
        mark = identity(
            saved.selection, table_arn=table.arn, attribute=saved.options.attribute, mode=saved.options.mode
        )
        request = msgspec.json.encode(saved)
        keys_path = ledger.folder(name) / "keys.db"
        # Stream records are stamped by the service's clock, not by ours.
        start_s = dynamodb.describe_table(self._aws, table.name)[1].timestamp()
        with ledger.transaction():
            known = ledger.find(name)
            check_same(known, name, mark)
            check_alone(ledger, table, name, force=self.request.force)
            if known is None:
                if self._spool is not None:
                    # Before the row: a run that exists has its keys.
                    shutil.move(self._spool, keys_path)
                else:
                    keys_path.unlink(missing_ok=True)
                run = ledger.enter(
                    name,
                    verb="touch",
                    table_arn=table.arn,
                    identity=mark,
                    request=request,
                    stream_start_s=start_s,
                )
                return run, False
            self.discard()
            # Its places are those of its own segments.
            selection = msgspec.json.decode(known.request, type=Saved).selection
            saved = self._saved = msgspec.structs.replace(saved, selection=selection)
            ledger.set_request(name, msgspec.json.encode(saved))
            limit = saved.options.limit
            canary_again = known.state == "LIMITED" and limit is not None and limit <= known.counts.selected
            if known.state == "COMPLETED" or canary_again:
                ledger.begin_again(name, start_s)
                return ledger.get(name), False
            return known, True


def check_same(known: Run | None, name: str, mark: str) -> None:
    if known is not None and (known.identity != mark or known.verb != "touch"):
        raise UsageError(
            f"run {name} exists on another selection, attribute or table",
            f"Choose another --run, or look: restrike runs show {name}",
        )


def check_alone(ledger: Ledger, table: TableInfo, name: str, *, force: bool) -> None:
    others = ledger.active_on(table.arn, besides=name)
    if others and not force:
        raise UsageError(
            f"run {others[0]} is active on table {table.name}",
            "Wait for it, or add --force to run beside it (the writes add up).",
        )


def _execute(
    aws: Aws,
    table: TableInfo,
    saved: Saved,
    ledger: Ledger,
    run: Run,
    resumed: bool,
    on_progress: OnProgress | None,
) -> TouchReport:
    async def go() -> TouchReport:
        touch = Touch(
            aws,
            table,
            saved.selection,
            saved.options,
            ledger,
            run,
            resumed=resumed,
            wcu_per_item=saved.wcu_per_item,
            on_progress=on_progress or _silent,
        )
        return await touch.execute()

    return run_to_end(go())


def _silent(_: object) -> None:
    """No progress wanted."""


def resume(ledger: Ledger, name: str, *, force: bool = False, on_progress: OnProgress | None = None) -> TouchReport:
    """Goes on with a run that was interrupted, killed, cancelled, limited or has failed."""
    known = ledger.get(name)
    if known.state == "COMPLETED":
        raise UsageError(f"run {name} is complete", f"See what it did: restrike runs show {name}")
    ledger.acquire(name)
    saved = msgspec.json.decode(known.request, type=Saved)
    if saved.options.limit is not None and known.state == "LIMITED":
        saved = msgspec.structs.replace(saved, options=msgspec.structs.replace(saved.options, limit=None))
    aws = Aws(saved.request.aws)
    table, _ = dynamodb.describe_table(aws, known.table)
    if table.arn != known.table_arn:
        raise UsageError(
            f"run {name} is on {known.table_arn}, these credentials see {table.arn}",
            "Use the account, Region and endpoint that it was started with.",
        )
    _check_stream(table)
    with ledger.transaction():
        check_alone(ledger, table, name, force=force)
    return _execute(aws, table, saved, ledger, ledger.get(name), True, on_progress)


# ── planning ─────────────────────────────────────────────────────────────────────────────────────────────


def plan(request: TouchRequest) -> Plan:
    """Looks at everything that the touch depends on; raises UsageError for what must not be tried."""
    name = request.run or default_name("touch", request.table)
    check_run_name(name)
    _check_options(request)
    aws = Aws(request.aws)
    table, _ = dynamodb.describe_table(aws, request.table)
    if request.expect_account is not None and request.expect_account != table.account:
        raise UsageError(
            f"table {table.name} is in account {table.account}, not in {request.expect_account}",
            "Check --profile and --region; nothing was written.",
        )
    _check_stream(table)
    if request.attribute in table.key_attributes_everywhere():
        raise UsageError(
            f"{request.attribute!r} is a key attribute of table {table.name} or of an index",
            "Choose another with --marker or --counter.",
        )
    return run_to_end(_look(request, name, aws, table))


def _check_options(request: TouchRequest) -> None:
    if request.counter is not None and request.marker != "restrike":
        raise UsageError("--marker and --counter are two ways to fire; give one")
    for flag, value, least in (
        ("--limit", request.limit, 1),
        ("--concurrency", request.concurrency, 1),
        ("--rate", request.rate if request.rate != "max" else None, 0.01),
        ("--max-wcu", request.max_wcu, 1),
        ("--verify-timeout", request.verify_timeout_s, 0),
    ):
        if value is not None and (not isinstance(value, int | float) or value < least):
            raise UsageError(f"{flag} {value} is less than {least}")
    if request.concurrency > 1_000:
        raise UsageError("--concurrency is at most 1,000")
    if not request.attribute:
        raise UsageError("the marker or counter needs a name")


def _check_stream(table: TableInfo) -> None:
    if table.stream_arn is None:
        raise UsageError(
            f"table {table.name} has no stream: nothing would fire",
            "Switch it on: aws dynamodb update-table --table-name "
            f"{table.name} --stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES",
        )


async def _look(request: TouchRequest, name: str, aws: Aws, table: TableInfo) -> Plan:
    spool: Path | None = None
    with Ledger(_path(request.ledger)) as ledger:
        if request.keys is not None:
            handle, spooled = tempfile.mkstemp(suffix=".keys", dir=ledger.path.parent)
            os.close(handle)
            spool = Path(spooled)
        try:
            async with dynamodb.connect(aws, connections=4) as wire:
                looker = _Looker(request, name, aws, table, wire, spool)
                return await looker.look(ledger)
        except BaseException:
            if spool is not None:
                spool.unlink(missing_ok=True)
            raise


class _Looker:
    """One planning: each method asks one thing and adds the warnings that come of it."""

    def __init__(
        self, request: TouchRequest, name: str, aws: Aws, table: TableInfo, wire: Wire, spool: Path | None
    ) -> None:
        self._request = request
        self._name = name
        self._aws = aws
        self._table = table
        self._wire = wire
        self._spool = spool
        self._warnings: list[PlanWarning] = []
        self._view_type = table.view_type or ""

    def _warn(self, code: str, message: str) -> None:
        self._warnings.append(PlanWarning(code, message))

    async def look(self, ledger: Ledger) -> Plan:
        request, table = self._request, self._table
        samples = await sample_values(self._wire, table, request)
        selection = resolve(
            request, table, ledger, self._spool or Path(), lambda index, key, _: samples.get((index, key.name))
        )
        known = ledger.find(self._name)
        options_mark = identity(selection, table_arn=table.arn, attribute=request.attribute, mode=request.mode)
        check_same(known, self._name, options_mark)
        check_alone(ledger, table, self._name, force=request.force)

        keys = await self._sample_keys(selection)
        items, count_rru = await self._count(selection)
        already = await self._already(keys)
        examined = dynamodb.get_items(
            self._aws, table.name, [msgspec.json.decode(key) for key in keys[:EXAMINED_ITEMS]]
        )
        consumers, consumers_note = self._consumers(examined)
        verify, verify_why = self._verify(consumers)
        pace = PaceOptions(request.rate, request.max_wcu)
        wcu_per_item = self._wcu_per_item()
        estimate = self._estimate(selection, items, pace, wcu_per_item, count_rru)
        self._general_warnings(selection, items, pace, wcu_per_item)

        options = Options(
            attribute=request.attribute,
            mode=request.mode,
            api=request.api,
            ordered=request.ordered,
            concurrency=request.concurrency,
            pace=pace,
            limit=request.limit,
            verify=verify,
            verify_timeout_s=request.verify_timeout_s,
        )
        one_partition = None
        if items.count and self._one_partition(selection):
            one_partition = seconds_on_one_partition(self._limited(items.count), wcu_per_item)
        data = TouchPlan(
            run=self._name,
            table=table.name,
            account=table.account,
            region=self._aws.region,
            table_arn=table.arn,
            endpoint=self._wire.url,
            view_type=self._view_type,
            attribute=request.attribute,
            mode=request.mode,
            selection=selection.describe(),
            items=items,
            sample_keys=tuple(key.decode() for key in keys[:SHOWN_KEYS]),
            sample_size=len(keys),
            sample_already=already,
            estimate=estimate,
            rate=pace.describe(table),
            seconds_one_partition=one_partition,
            prices_as_of=cost.PRICES_AS_OF,
            consumers=consumers,
            consumers_note=consumers_note,
            readers=self._readers(consumers, verify),
            verify=verify,
            verify_why=verify_why,
            warnings=tuple(self._warnings),
            command=command(request, self._name),
        )
        return Plan(request, self._aws, table, data, Saved(selection, options, request, wcu_per_item), self._spool)

    # ── the selection ────────────────────────────────────────────────────────────────────────────────────

    async def _sample_keys(self, selection: Selection) -> list[bytes]:
        """The canonical keys of up to 100 of the first items."""
        if isinstance(selection.what, KeyList):
            assert self._spool is not None
            with KeyFile(self._spool) as file:
                return [key for _, key in file.read(0, SAMPLE_ITEMS)]
        keys: list[bytes] = []
        schema = self._table.key
        fields = {f"key_{number}": name for number, name in enumerate(schema.names)}
        for number, strand in enumerate(strands(selection, self._table)):
            if number == 10 or len(keys) >= SAMPLE_ITEMS:
                break
            limited = Strand(strand.id, strand.operation, strand.request | {"Limit": SAMPLE_ITEMS})
            async for page in _pages(self._wire, limited, fields, pages=3):
                keys += [canonical_key(schema, item) for item in page["Items"]]
                if len(keys) >= SAMPLE_ITEMS:
                    break
        return keys[:SAMPLE_ITEMS]

    async def _already(self, keys: list[bytes]) -> int:
        """How many of the sample bear this run's name."""
        if self._request.mode == "counter" or not keys:
            return 0
        values = await read_attribute(self._wire, self._table, keys, self._request.attribute)
        return sum(value == {"S": self._name} for value in values.values())

    async def _count(self, selection: Selection) -> tuple[Items, float | None]:
        """How many items, at the cost of at most 25 pages, and the read units that one reading takes."""
        what, table = selection.what, self._table
        if isinstance(what, KeyList):
            return Items(what.count, "counted: different keys in the file"), 0.0
        whole = isinstance(what, Scan)
        if whole and selection.filter is None:
            holder: Any = table.index(what.index) if what.index else table
            where = f"index {what.index}" if what.index else "the table"
            if holder.item_count:
                share = holder.item_count / max(1, table.item_count)
                # Half a unit per 4 KB: the reads are eventually consistent.
                rru = table.size_bytes * (1.0 if not what.index else min(1.0, share)) / 8192
                return Items(holder.item_count, f"{where}'s own ItemCount, up to six hours old"), rru
        count, pages, units = 0, 0, 0.0
        for strand in strands(selection, table):
            request = strand.request | {"Select": "COUNT", "ReturnConsumedCapacity": "TOTAL"}
            while pages < COUNT_PAGES:
                page = msgspec.json.decode(await self._wire.call(strand.operation, msgspec.json.encode(request)))
                pages += 1
                count += page["Count"]
                units += page.get("ConsumedCapacity", {}).get("CapacityUnits", 0.0)
                if "LastEvaluatedKey" not in page:
                    break
                request["ExclusiveStartKey"] = page["LastEvaluatedKey"]
            else:
                return Items(count, f"at least: counting stopped after {COUNT_PAGES} pages"), None
        return Items(count, "counted by COUNT queries just now"), units

    def _limited(self, count: int) -> int:
        return min(count, self._request.limit) if self._request.limit is not None else count

    # ── consumers ────────────────────────────────────────────────────────────────────────────────────────

    def _consumers(self, examined: list[dict[str, Any]]) -> tuple[tuple[Consumer, ...], str]:
        note = (
            "Consumers elsewhere (other Regions, other accounts, Kinesis Client Library applications, other readers "
            "of the stream) cannot be seen from here; a touch fires them too."
        )
        if not self._aws.may_ask("lambda"):
            return (), f"Lambda was not asked: DynamoDB is at {self._wire.url}, and Lambda has no such endpoint. {note}"
        assert self._table.stream_arn is not None
        try:
            mappings = lambda_.event_source_mappings(self._aws, self._table.stream_arn)
        except AccessDenied:
            return (), f"Could not look for Lambda functions: access denied (lambda:ListEventSourceMappings). {note}"
        except AwsError as error:
            return (), f"Could not look for Lambda functions: {error.message}. {note}"
        consumers = tuple(self._consumer(mapping, examined) for mapping in mappings)
        return consumers, note

    def _consumer(self, mapping: dict[str, Any], examined: list[dict[str, Any]]) -> Consumer:
        arn = str(mapping.get("FunctionArn", ""))
        name = arn.split(":function:")[-1]
        state = str(mapping.get("State", "unknown"))
        fires, why = self._what_it_sees(mapping, examined)
        if fires is not False and state not in ("Enabled", "Enabling", "Updating", "Creating"):
            fires, why = False, f"its event source mapping is {state}: it sees the records when it is enabled in 24 h"
        if fires is False and "MODIFY" in why:
            self._warn(
                "consumer-not-fired",
                f"{name} takes no MODIFY records of these items: touch cannot fire it again; replay can.",
            )
        return Consumer(f"{name} (mapping {mapping.get('UUID', '?')})", "lambda", state, fires, why)

    def _what_it_sees(self, mapping: dict[str, Any], examined: list[dict[str, Any]]) -> tuple[bool | None, str]:
        filters = (mapping.get("FilterCriteria") or {}).get("Filters") or []
        if not filters:
            return True, "no filter: sees every touched item as MODIFY"
        try:
            criteria = compile_criteria({"Filters": filters})
        except UsageError as error:
            return None, f"has a filter that cannot be read: {error.message}"
        if not examined:
            return None, "has a filter, and there is no item to try it on"
        passed = sum(criteria.matches(record) for record in self._touched_records(examined))
        tried = len(examined)
        if passed == 0:
            return False, f"its filter drops the MODIFY records of all {tried} sampled items"
        return True, f"its filter passes the MODIFY records of {passed} of {tried} sampled items"

    def _touched_records(self, examined: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The records that touching those items would write, as far as the view type shows them."""
        for item in examined:
            old = {name: _plain(value) for name, value in item.items()}
            new = old | {self._request.attribute: {"S": self._name}}
            if self._request.mode == "counter":
                new[self._request.attribute] = {"N": "1"}
            change: dict[str, Any] = {"Keys": {name: old[name] for name in self._table.key.names}}
            if self._view_type in ("NEW_IMAGE", "NEW_AND_OLD_IMAGES"):
                change["NewImage"] = new
            if self._view_type in ("OLD_IMAGE", "NEW_AND_OLD_IMAGES"):
                change["OldImage"] = old
            change["StreamViewType"] = self._view_type
            yield {
                "eventName": "MODIFY",
                "eventSource": "aws:dynamodb",
                "eventVersion": "1.1",
                "awsRegion": self._aws.region,
                "dynamodb": change,
            }

    def _verify(self, consumers: tuple[Consumer, ...]) -> tuple[bool, str]:
        """Whether the stream is read for proof: by default where a further reader cannot hurt."""
        if self._request.verify is not None:
            return self._request.verify, "as asked"
        if self._table.replica_regions:
            return False, "a global table: its stream should have one reader; --verify reads it all the same"
        readers = sum(consumer.state == "Enabled" for consumer in consumers)
        if readers > SAFE_READERS:
            return False, f"{readers} readers are known already, and a shard allows 2; --verify reads all the same"
        return True, "every write is looked for on the stream"

    def _readers(self, consumers: tuple[Consumer, ...], verify: bool) -> str:
        known = sum(consumer.state == "Enabled" for consumer in consumers)
        mine = 1 if verify else 0
        return f"{known + mine} of the {streams.READERS_PER_SHARD} that a shard allows" + (
            " (one is this proof)" if verify else ""
        )

    # ── cost and warnings ────────────────────────────────────────────────────────────────────────────────

    def _wcu_per_item(self) -> float:
        return float(cost.writes_per_item(self._table, self._request.attribute))

    def _estimate(
        self, selection: Selection, items: Items, pace: PaceOptions, wcu_per_item: float, rru: float | None
    ) -> Estimate:
        if items.count is None:
            return Estimate(None, rru, None, None)
        count = self._limited(items.count)
        wru = count * wcu_per_item
        usd = cost.usd_of_writes(self._table, wru) + cost.usd_of_reads(self._table, rru or 0.0)
        seconds = pace.seconds(self._table, count, wcu_per_item)
        if self._one_partition(selection):
            seconds = max(seconds, seconds_on_one_partition(count, wcu_per_item))
        return Estimate(wru, round(rru, 1) if rru is not None else None, round(usd, 6), round(seconds, 1))

    def _one_partition(self, selection: Selection) -> bool:
        """Whether all writes go to one partition key: the table's, or that of an index that projects the marker."""
        what = selection.what
        if isinstance(what, KeyQuery) and what.index is None:
            return True
        if isinstance(what, KeyList | Scan) or what.index is None:
            return False
        index = self._table.index(what.index)
        if index.kind == "local" or not index.projects(self._request.attribute):
            return False
        return isinstance(what, KeyQuery) or what.first.strftime(what.format) == what.last.strftime(what.format)

    def _general_warnings(self, selection: Selection, items: Items, pace: PaceOptions, wcu_per_item: float) -> None:
        table, request = self._table, self._request
        attribute = request.attribute
        if request.mode == "marker":
            self._warn(
                "marker-stays",
                f"the items get the attribute {attribute!r}, and keep it; a consumer that accepts only attributes it "
                "knows may refuse them.",
            )
        else:
            self._warn(
                "counter-may-be-a-lock",
                f"if an application uses {attribute!r} as its optimistic lock, its own writes fail once where a touch "
                "came between.",
            )
        if table.replica_regions:
            regions = ", ".join(table.replica_regions)
            self._warn("global-table", f"a global table: the streams of its replicas ({regions}) fire too.")
        try:
            ttl = dynamodb.time_to_live_attribute(self._aws, table.name)
        except AwsError:
            ttl = None
        if ttl is not None:
            self._warn(
                "ttl", f"items expire by {ttl!r}: one that expires meanwhile is reported as gone and fires its REMOVE."
            )
        rate = pace.items_per_s(table, wcu_per_item)
        if not table.on_demand and rate is not None and rate * wcu_per_item > table.write_capacity:
            self._warn(
                "exceeds-capacity",
                f"{rate * wcu_per_item:g} WCU/s are more than the {table.write_capacity:g} that are provisioned: the "
                "application's writes would be throttled.",
            )
        if self._view_type in ("KEYS_ONLY", "OLD_IMAGE"):
            self._warn(
                "view-type",
                f"the stream shows {self._view_type}: consumers do not see the new image, and the proof can only bound "
                "what was seen.",
            )
        projecting = table.indexes_projecting(attribute)
        if projecting:
            names = ", ".join(index.name for index in projecting)
            self._warn("index-writes", f"each touch writes {1 + len(projecting)} times: {names} project {attribute!r}.")
        if items.count == 0:
            self._warn("empty", "nothing is selected: there is nothing to fire.")


async def sample_values(
    wire: Wire, table: TableInfo, request: TouchRequest
) -> dict[tuple[str | None, str], AttributeValue]:
    """A value of the key attribute whose date form has to be recognised, where the request needs one."""
    if request.date_from is None:
        return {}
    schema = table.index(request.index).key if request.index else table.key
    attribute = schema.partition if request.key is None else schema.sort
    if attribute is None:
        return {}
    ask: dict[str, Any] = {"TableName": table.name, "Limit": 1}
    if request.index:
        ask["IndexName"] = request.index
    strand = Strand("sample", "Scan", ask)
    if request.key is not None:
        selection = Selection(KeyQuery(_typed(table, request.index, request.key), request.index))
        strand = Strand("sample", "Query", next(strands(selection, table)).request | {"Limit": 1})
    async for page in _pages(wire, strand, {"value": attribute.name}, pages=1):
        for item in page["Items"]:
            return {(request.index, attribute.name): item[attribute.name]}
    return {}


async def _pages(wire: Wire, strand: Strand, fields: dict[str, str], *, pages: int) -> AsyncIterator[Any]:
    request = projected(strand, fields)
    for _ in range(pages):
        page = msgspec.json.decode(await wire.call(strand.operation, msgspec.json.encode(request)))
        yield page
        if "LastEvaluatedKey" not in page:
            return
        request["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _typed(table: TableInfo, index: str | None, text: str) -> AttributeValue:
    schema = table.index(index).key if index else table.key
    return key_value(schema.partition, text)


def _plain(value: Any) -> Any:
    """botocore's decoding undone: bytes to base64, as records have them."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | set):
        return [_plain(inner) for inner in value]
    return value


def _path(text: str | None) -> Path | None:
    return Path(text) if text is not None else None
