"""Looking before touching: everything that a plan tells of table, selection, cost and consumers; nothing is written."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import msgspec

from restrike.aws import dynamodb, streams
from restrike.aws.session import Aws
from restrike.aws.wire import Wire
from restrike.errors import AccessDenied, AwsError, UsageError
from restrike.model.plan import Items, PlanWarning, TouchPlanData
from restrike.model.selection import KeyList, Selection, projected, strands
from restrike.model.table import MARKER, Consistency, TableInfo, canonical_key
from restrike.model.text import printable
from restrike.running.flags import PLAN_TIMEOUT_S
from restrike.selecting.count import count
from restrike.selecting.keyfile import KeyFile
from restrike.selecting.pages import pages
from restrike.touching import conflicts
from restrike.touching.estimate import Reckoning
from restrike.touching.proof import without_proof
from restrike.touching.request import TouchRequest, command_line
from restrike.touching.run import verb_writing
from restrike.touching.watching import LagPlan, look_at_lag
from restrike.wiring.audience import Audience, Destinations, audience_of
from restrike.wiring.consumers import Consumers, Item, consumers_of, touched_records

SAMPLE_ITEMS = 100
SAMPLE_STRANDS = 10
SAMPLE_PAGES = 3
SHOWN_KEYS = 5
SHOWN_RUNS = 5
MAX_NAME_CHARS = 64
EXAMINED_ITEMS = 5  # on which the consumers' filters are tried
SAFE_READERS = 1  # known readers of a shard that leave room for one more
_KINESIS_ALONE = (
    "The table has no stream: what changes goes to Kinesis alone, and who reads there cannot be seen from here."
)
_FIRE: dict[Consistency, str] = {
    "EVENTUAL": "each on a stream of its own",
    "STRONG": "where their streams, which are off by default, are on: with the same records in the same order",
}
"""How the replicas of a global table fire."""


class Look:
    """One planning: each method asks one thing, and adds the warnings that come of it. `table` is the table as its
    description and its items tell."""

    def __init__(
        self,
        request: TouchRequest,
        run: str,
        aws: Aws,
        table: TableInfo,
        destinations: Destinations,
        wire: Wire,
        selection: Selection,
    ) -> None:
        self.verify = False
        self.lag = LagPlan("")
        self.table = table
        self._reckoning = Reckoning(request, aws, table, selection)
        self.wcu_per_item = self._reckoning.wcu_per_item
        self._request = request
        self._run = run
        self._mine = {"S": run if request.remove is None else request.remove}
        self._aws = aws
        self._destinations = destinations
        self._wire = wire
        self._selection = selection
        self._warnings: list[PlanWarning] = []

    async def plan(self, keys_path: Path) -> TouchPlanData:
        """Looks at all of it. `keys_path`: where the keys of a key list are."""
        request, selection = self._request, self._selection
        keys = await self._sample_keys(keys_path)
        items = await self._items(keys)
        self._refuse_data(items)
        self.table = table = conflicts.as_items_tell(self.table, items.values())
        counted = await count(self._wire, table, selection)
        consumers, audience = await self._consumers(list(items.values())[:EXAMINED_ITEMS])
        readers = consumers.reading + audience.readers + table.replicates_eventually
        verify_why = await self._settle_proof(readers, unseen=consumers.unseen)
        already = sum(item.get(request.attribute) == self._mine for item in items.values())
        others = self._others(items)
        self._warn_of_table(counted.items)
        units = self._destinations.units(table, counted.items.count, request.limit)
        reckoned = await self._reckoning.of(counted, units)
        self.lag = await look_at_lag(
            request,
            self._aws,
            consumers,
            reckoned.estimate.seconds,
            endpoint=self._wire.url,
            timeout_s=request.plan_timeout_s or PLAN_TIMEOUT_S,
        )
        self._warnings += (*reckoned.warnings, *self.lag.warnings)
        return TouchPlanData(
            run=self._run,
            table=table.name,
            account=table.account,
            region=self._aws.region,
            table_arn=table.arn,
            endpoint=self._wire.url,
            view_type=table.view_type or "",
            attribute=request.attribute,
            mode=request.mode,
            selection=selection.describe(),
            items=counted.items,
            sample_keys=tuple(key.decode() for key in keys[:SHOWN_KEYS]),
            sample_size=len(keys),
            sample_already=already if request.mode != "counter" else 0,
            sample_others=others,
            estimate=reckoned.estimate,
            rate=reckoned.rate,
            lag=self.lag.told,
            max_lag_s=None if self.lag.options is None else self.lag.options.max_lag_s,
            lag_usd=self.lag.usd,
            late=self.lag.late,
            seconds_one_partition=reckoned.seconds_one_partition,
            prices=reckoned.prices,
            prices_as_of=reckoned.prices_as_of,
            consumers=(*consumers.known, *audience.known, *self._destinations.known),
            consumers_note=" ".join((consumers.note, *audience.notes)).strip(),
            readers=self._readers(readers),
            verify=self.verify,
            verify_why=verify_why,
            warnings=tuple(self._warnings),
            command=command_line(conflicts.as_it_must_be_given(request, table), self._run),
            limit=request.limit,
            verb=verb_writing(request.mode).name,
            replicas=table.replica_regions,
            consistency=table.consistency,
            change_data_units=units,
            change_data_usd=reckoned.change_data_usd,
        )

    def _warn(self, code: str, message: str) -> None:
        self._warnings.append(PlanWarning(code, message))

    # ── the selection ────────────────────────────────────────────────────────────────────────────────────

    async def _sample_keys(self, keys_path: Path) -> list[bytes]:
        """The canonical keys of up to 100 of the first items."""
        if isinstance(self._selection.what, KeyList):
            with KeyFile(keys_path) as file:
                return [key for _, key in file.read(0, SAMPLE_ITEMS)]
        schema = self.table.key
        fields = {f"key_{number}": name for number, name in enumerate(schema.names)}
        read = dynamodb.page_decoder(fields)
        found: list[bytes] = []
        for number, strand in enumerate(strands(self._selection, self.table)):
            if number == SAMPLE_STRANDS or len(found) >= SAMPLE_ITEMS:
                break
            asking = projected(strand, fields) | {"Limit": SAMPLE_ITEMS}
            async for page in pages(self._wire, strand.operation, asking, read, most=SAMPLE_PAGES):
                for item in page.items:
                    values = {name: msgspec.json.decode(getattr(item, field)) for field, name in fields.items()}
                    found.append(canonical_key(schema, values))
                if len(found) >= SAMPLE_ITEMS:
                    break
        return found[:SAMPLE_ITEMS]

    async def _items(self, keys: list[bytes]) -> dict[bytes, Item]:
        """The sampled items as they are: a few of them whole, of the others the attribute alone."""
        names = tuple(dict.fromkeys((*self.table.key.names, self._request.attribute)))
        whole = await dynamodb.batch_get(self._wire, self.table.name, keys[:EXAMINED_ITEMS])
        parts = await dynamodb.batch_get(self._wire, self.table.name, keys[EXAMINED_ITEMS:], attributes=names)
        found: dict[bytes, Item] = {}
        for raw in (*whole, *parts):
            item: Item = msgspec.json.decode(raw)
            found[canonical_key(self.table.key, item)] = item
        return {key: found[key] for key in keys if key in found}

    def _refuse_data(self, items: dict[bytes, Item]) -> None:
        """UsageError where the attribute of a sampled item holds what a touch must not write over. No value is told:
        it is the application's."""
        name, mode = self._request.attribute, self._request.mode
        if mode == "unmark":
            return  # what does not bear the name stays as it is
        held = [item[name] for item in items.values() if name in item]
        if mode == "counter":
            wrong = [value for value in held if "N" not in value]
            what, hint = "a number", "Choose another --counter, or write a marker."
        elif name == MARKER:
            wrong = [value for value in held if "S" not in value]
            what, hint = "the name of a run", "Choose another --marker."
        else:
            free = [self._mine, *({"S": run} for run in self._request.names)]
            wrong = [value for value in held if value not in free]
            what = "the name of this run, or of one that --over names"
            hint = "Choose another --marker. Where these are names of earlier runs, tell which: --over RUN,RUN"
        if wrong:
            types = ", ".join(sorted({next(iter(value)) for value in wrong}))
            raise UsageError(
                f"the attribute {name!r} of {len(wrong):,} of {len(items):,} sampled items holds data (type {types}), "
                f"not {what}; nothing was written",
                hint,
            )

    def _others(self, items: dict[bytes, Item]) -> dict[str, int]:
        """The names of other runs that sampled items bear, the most frequent first; warns that they go."""
        if self._request.mode != "marker":
            return {}
        held = [item[self._request.attribute] for item in items.values() if self._request.attribute in item]
        names = Counter(str(value["S"]) for value in held if value != self._mine)
        if not names:
            return {}
        # Whatever an item holds there, it must not write commands to the terminal.
        told = ", ".join(
            f"{printable(name, most=MAX_NAME_CHARS, keep='')} ({number:,})"
            for name, number in names.most_common(SHOWN_RUNS)
        )
        told += ", …" if len(names) > SHOWN_RUNS else ""
        text = f"{names.total():,} of {len(items):,} sampled items bear the names of other runs: {told}. "
        if self._request.again:
            text += f"They fire, also those that {self._run} had fired before these runs took its name away."
        else:
            text += "They fire, and these runs no longer know them: started over, they fire them again."
        self._warn("other-runs", text)
        return dict(names.most_common())

    # ── consumers and proof ──────────────────────────────────────────────────────────────────────────────

    async def _consumers(self, items: list[Item]) -> tuple[Consumers, Audience]:
        aws, table, request = self._aws, self.table, self._request
        unknown = f"{self._destinations.unknown}." if self._destinations.unknown else ""
        if table.stream_arn is None:
            return Consumers((), f"{unknown} {_KINESIS_ALONE}".strip()), Audience()
        value = {"marker": self._mine, "counter": {"N": "1"}, "unmark": None}[request.mode]
        touched = list(touched_records(items, table, aws.region, request.attribute, value))
        beside = asyncio.create_task(
            audience_of(aws, table, touched, self._wire.url, request.plan_timeout_s or PLAN_TIMEOUT_S)
        )
        await asyncio.sleep(0)  # so that it asks while Lambda is asked
        found = await asyncio.to_thread(consumers_of, aws, table, touched, self._wire.url)
        audience = await beside
        self._warnings += (*found.warnings, *audience.warnings)
        return found, msgspec.structs.replace(audience, notes=tuple(filter(None, (unknown, *audience.notes))))

    async def _settle_proof(self, readers: int, *, unseen: bool) -> str:
        """Whether the stream is read for proof, by default where a further reader cannot hurt; returns why."""
        if self.table.stream_arn is None:
            if self._request.verify or self._request.verify_timeout_s is not None:
                flag = "--verify" if self._request.verify else "--verify-timeout"
                raise UsageError(
                    f"{flag} has nothing to look at: table {self.table.name} has no stream, and what Kinesis got is "
                    "not looked for",
                    "Go without the proof (--no-verify), or switch a stream on.",
                )
            return "the table has no stream, and what Kinesis got is not looked for"
        if self._request.verify is not None:
            if self._request.verify:
                with without_proof():
                    await self._try_stream()
            self.verify = self._request.verify
            return "as asked"
        if readers > SAFE_READERS:
            which = " (one is the replication)" if self.table.replicates_eventually else ""
            return f"{readers} readers are known already{which}, and a shard allows 2; --verify reads all the same"
        if unseen and self.table.replicates_eventually:
            return "the replication reads, and who else does could not be looked for; --verify reads all the same"
        try:
            await self._try_stream()
        except AccessDenied as error:
            self._warn("proof-denied", f"nobody looks whether the records are there: {error.message}")
            return f"the stream may not be read: {error.message}"
        self.verify = True
        return "every write is looked for on the stream"

    async def _try_stream(self) -> None:
        """Raises AwsError where the stream cannot be read, as far as that shows without reading a record."""
        assert self.table.stream_arn is not None
        async with streams.connect(self._aws, connections=1) as wire:
            await streams.try_reading(wire, self.table.stream_arn)

    def _readers(self, readers: int) -> str:
        if self.table.stream_arn is None:
            return ""
        ours = ["the replication"] * self.table.replicates_eventually + ["this proof"] * self.verify
        told = f" ({', '.join(f'one is {each}' for each in ours)})" if ours else ""
        every, most = readers + self.verify, streams.READERS_PER_SHARD
        if every > most:
            return f"{every}, and a shard allows {most}{told}"
        return f"{every} of the {most} that a shard allows{told}"

    # ── warnings ─────────────────────────────────────────────────────────────────────────────────────────

    def _warn_of_table(self, items: Items) -> None:
        table, attribute = self.table, self._request.attribute
        if self._request.mode == "marker":
            self._warn(
                "marker-stays",
                f"the items get the attribute {attribute!r}, and keep it; a consumer that accepts only attributes it "
                "knows may refuse them.",
            )
        elif self._request.mode == "unmark":
            self._warn("unmark-fires", "each item that bears the name fires once more when it is taken off.")
            self._warn(
                "unmark-unprotects",
                f"{self._request.remove} no longer protects these items: started over, or run from another machine, it "
                "fires them again.",
            )
        else:
            self._warn(
                "counter-may-be-a-lock",
                f"if an application uses {attribute!r} as its optimistic lock, its own writes fail once where a touch "
                "came between.",
            )
        if table.consistency is not None:
            self._warn(
                "global-table",
                f"a global table: its replicas ({conflicts.replicas(table)}) fire too, {_FIRE[table.consistency]}.",
            )
        if table.replicates_eventually:
            self._warnings.append(conflicts.warning(table))
        ttl = self._time_to_live()
        if ttl is not None:
            self._warn(
                "ttl", f"items expire by {ttl!r}: one that expires meanwhile is reported as gone and fires its REMOVE."
            )
        if table.view_type in ("KEYS_ONLY", "OLD_IMAGE"):
            self._warn(
                "view-type",
                f"the stream shows {table.view_type}: consumers do not see the new image, and the proof can only bound "
                "what was seen.",
            )
        if items.count == 0:
            self._warn("empty", "nothing is selected: there is nothing to fire.")

    def _time_to_live(self) -> str | None:
        try:
            return dynamodb.time_to_live_attribute(self._aws, self.table.name)
        except AwsError:
            return None  # only a warning is lost
