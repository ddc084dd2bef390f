"""Looking: everything that can be seen of a table without writing, all of it asked side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from restrike.aws import dynamodb, exports, streams
from restrike.aws.session import Aws
from restrike.aws.wire import Wire
from restrike.diagnosing import consumers, measured
from restrike.diagnosing.consumers import Records
from restrike.diagnosing.indexes import indexes_of
from restrike.diagnosing.kept import kept
from restrike.diagnosing.questions import Questions
from restrike.diagnosing.request import TIMEOUT_S, DoctorRequest, asked_of, aws_flags, check
from restrike.diagnosing.sample import as_touched, sample, sample_of_window
from restrike.diagnosing.streams import Streams, arns_of, described, horizon
from restrike.errors import Unreachable
from restrike.model.diagnosis import ConsumerSeen, Horizon, IndexSeen, PointInTime, Seen, Undelivered
from restrike.model.table import TableInfo
from restrike.wiring.audience import Destinations, audience_of, destinations_of
from restrike.wiring.beside import in_time
from restrike.wiring.consumers import ELSEWHERE, Item
from restrike.wiring.undelivered import named

MOST_CONSUMERS = 30
"""That are looked into, beyond what a list tells of them."""
CONNECTIONS = 16
SPARE_S = 0.5
"""Of the time that there is, for what has to be told when all is answered."""


async def look(request: DoctorRequest) -> Seen:
    """What there is to see within `timeout_s`. Only where the table itself cannot be described it raises."""
    check(request)
    aws = Aws(request.aws)
    timeout_s = TIMEOUT_S if request.timeout_s is None else request.timeout_s
    questions = Questions(aws, timeout_s - SPARE_S)
    table, now = await _described(aws, request.table, questions.left_s)
    async with (
        dynamodb.connect(aws, connections=CONNECTIONS, patience_s=timeout_s) as wire,
        streams.connect(aws, connections=CONNECTIONS) as streams_wire,
    ):
        return await _Look(request, questions, table, now, wire, streams_wire).seen()


async def _described(aws: Aws, name: str, timeout_s: float) -> tuple[TableInfo, datetime]:
    aws.client("dynamodb")
    try:
        return await in_time(lambda: dynamodb.describe_table(aws, name), timeout_s)
    except TimeoutError:
        raise Unreachable(
            f"DescribeTable: no answer from {aws.endpoint('dynamodb')} within {timeout_s:.3g} s",
            "Check the network, --region and --endpoint-url; or give it longer: --timeout.",
            operation="DescribeTable",
        ) from None


class _Look:
    """One look at one table. What depends on nothing is asked at once, the rest as soon as what it depends on is
    known."""

    def __init__(
        self,
        request: DoctorRequest,
        questions: Questions,
        table: TableInfo,
        now: datetime,
        wire: Wire,
        streams_wire: Wire,
    ) -> None:
        self._request = request
        self._questions = questions
        self._aws = questions.aws
        self._table = table
        self._now_s = now.timestamp()
        self._asked = asked_of(request, now)
        self._since_s = measured.since_s(self._asked.window.since_s, self._now_s)
        self._wire = wire
        self._streams_wire = streams_wire

    async def seen(self) -> Seen:
        questions, table = self._questions, self._table
        failures = () if self._request.failures is None else (named(self._request.failures),)
        async with asyncio.TaskGroup() as group:
            arns_asked = group.create_task(arns_of(questions, table))
            destinations = group.create_task(self._destinations())
            indexes = group.create_task(indexes_of(questions, self._wire, table, self._now_s))
            items_asked = group.create_task(self._items(indexes))
            expiring = group.create_task(self._time_to_live())
            recovery = group.create_task(self._recovery())
            held = group.create_task(kept(questions, self._request, table))
            looked_at = group.create_task(self._undelivered(failures))
            arns = await arns_asked
            found = group.create_task(described(questions, self._streams_wire, table, arns))
            every = await self._consumers(arns, as_touched(await items_asked, table, self._aws.region))
            readers = sum(each.reads_now for each in every) + table.replicates_eventually
            looked_into = group.create_task(self._looked_into(every))
            numbers = group.create_task(self._measured(every, failures))
            back = group.create_task(self._horizon(await found, readers))
        told = numbers.result()
        consumers_seen = tuple(measured.with_metrics(each, told, self._now_s) for each in looked_into.result())
        written, returned = (None if each is None else told.series.get(each) for each in measured.of_table(table))
        more = measured.more_readers(consumers_seen, returned, readers)
        return Seen(
            table=table,
            now_s=self._now_s,
            since_s=self._since_s,
            streams=found.result().seen,
            horizon=back.result(),
            indexes=indexes.result(),
            ttl=expiring.result(),
            point_in_time=recovery.result(),
            consumers=(*consumers_seen, *consumers.of_others(destinations.result().known)),
            readers=readers,
            readers_note="" if table.stream_arn is None else f"{ELSEWHERE} {more}".strip(),
            written=written,
            returned=returned,
            kept=held.result(),
            failures=tuple(each for one in looked_at.result() if (each := measured.aged(one, told, self._now_s))),
            unseen=questions.unseen,
            asked_usd=told.usd,
            period_s=measured.period_s(self._since_s, self._now_s),
            flags=aws_flags(self._request),
        )

    async def _items(self, indexes: asyncio.Task[tuple[IndexSeen, ...]]) -> list[Item]:
        """Some of those that are meant: of the key, of the window's days where an index has them, else of the table."""
        questions, table, key = self._questions, self._table, self._request.key
        window = self._asked.window
        if key is None and window.since_s is not None:
            of_window = sample_of_window(self._wire, table, await indexes, window, self._now_s)
            permissions = "dynamodb:Query, dynamodb:BatchGetItem"
            found = await questions.follow("a sample of the window's items", of_window, permission=permissions)
            if found:
                return found
        wanted = sample(self._wire, table, key)
        permissions = "dynamodb:Scan, dynamodb:Query, dynamodb:BatchGetItem"
        return await questions.follow("a sample of items", wanted, permission=permissions) or []

    async def _destinations(self) -> Destinations:
        found = await self._questions.ask("Kinesis destinations", lambda: destinations_of(self._aws, self._table))
        if found is None:
            return Destinations()
        self._questions.note(*found.unseen)
        return found

    async def _time_to_live(self) -> str | None:
        return await self._questions.ask(
            "time to live",
            lambda: dynamodb.time_to_live_attribute(self._aws, self._table.name),
            permission="dynamodb:DescribeTimeToLive",
        )

    async def _recovery(self) -> PointInTime | None:
        found = await self._questions.ask(
            "point-in-time recovery",
            lambda: exports.recovery(self._aws, self._table.name),
            permission="dynamodb:DescribeContinuousBackups",
        )
        return None if found is None else PointInTime(found.enabled, found.earliest_s, found.latest_s)

    async def _undelivered(self, named_ones: Sequence[Undelivered]) -> list[Undelivered | None]:
        asked = (consumers.undelivered(self._questions, each, self._now_s) for each in named_ones)
        return list(await asyncio.gather(*asked))

    async def _consumers(self, arns: Sequence[str], touched: Records) -> tuple[ConsumerSeen, ...]:
        """Those that read the table's streams: functions, pipes, pipelines of OpenSearch Ingestion."""
        questions, table = self._questions, self._table
        functions, audience = await asyncio.gather(
            consumers.mapped(questions, table, arns, touched),
            audience_of(self._aws, table, touched, self._aws.endpoint("dynamodb"), questions.limit_s),
        )
        questions.note(*audience.unseen)
        pipes = [
            consumers.of_pipe(each, audience.pipes.get(each.name), touched)
            for each in audience.known
            if each.kind == "pipe"
        ]
        others = consumers.of_others([each for each in audience.known if each.kind != "pipe"])
        return (*functions, *pipes, *others)

    async def _looked_into(self, every: Sequence[ConsumerSeen]) -> list[ConsumerSeen]:
        some = every[:MOST_CONSUMERS]
        found = await asyncio.gather(*(consumers.looked_into(self._questions, each, self._now_s) for each in some))
        return [*found, *every[MOST_CONSUMERS:]]

    async def _horizon(self, found: Streams, readers: int) -> Horizon | None:
        if self._table.stream_arn is None:
            return None
        return await horizon(self._questions, self._streams_wire, self._table.stream_arn, found.shards, readers)

    async def _measured(self, every: Sequence[ConsumerSeen], failures: Sequence[Undelivered]) -> measured.Measured:
        asked = [each for each in measured.of_table(self._table) if each is not None]
        queues = [*(each.on_failure for each in every), *failures]
        asked += [metric for each in queues if (metric := measured.of_queue(each)) is not None]
        asked += [metric for each in every for metric in measured.of_consumer(each).values()]
        return await measured.measured(self._questions, asked, self._since_s, self._now_s)
