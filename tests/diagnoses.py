"""Six tables and who reads them, as a doctor may find them: what the picture is drawn of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from restrike.model.diagnosis import (
    Advice,
    Asked,
    Closed,
    ConsumerSeen,
    Diagnosis,
    Horizon,
    IndexSeen,
    Kept,
    Loss,
    PointInTime,
    Seen,
    StreamSeen,
    Undelivered,
    Unseen,
    Way,
    WillFire,
)
from restrike.model.metrics import Metric, Series
from restrike.model.plan import PlanWarning
from restrike.model.table import IndexInfo, KeyAttribute, KeySchema, TableInfo
from restrike.model.ways import order

NOW_S = 1_764_068_400.0  # 2025-11-25T11:00:00Z
HOUR_S = 3600
PERIOD_S = 300
SINCE_S = NOW_S - 24 * HOUR_S
PERIODS = 288
ARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/orders"
KEY = KeySchema(KeyAttribute("customer_id", "S"), KeyAttribute("order_id", "S"))
BY_DAY = IndexInfo("by_created_ymd", "global", KeySchema(KeyAttribute("created_ymd", "S"), KEY.partition), "ALL")


def series(name: str, at: Callable[[int], float | None], *, stat: Any = "Sum", namespace: str = "AWS/Lambda") -> Series:
    """A day of a metric; `at` is asked for each of its 288 periods, the oldest first."""
    told = ((SINCE_S + number * PERIOD_S, at(number)) for number in range(PERIODS))
    points = tuple((start_s, value) for start_s, value in told if value is not None)
    return Series(Metric(namespace, name, (("FunctionName", "bookkeeper"),), stat), PERIOD_S, points)


def of_function(
    *,
    invocations: Callable[[int], float | None] = lambda _: 40,
    errors: Callable[[int], float | None] = lambda _: 0,
    throttles: Callable[[int], float | None] = lambda _: 0,
    age_ms: Callable[[int], float | None] = lambda _: 900,
    **others: Callable[[int], float | None],
) -> dict[str, Series]:
    found = {
        "Invocations": series("Invocations", invocations),
        "Errors": series("Errors", errors),
        "Throttles": series("Throttles", throttles),
        "IteratorAge": series("IteratorAge", age_ms, stat="Maximum"),
    }
    return found | {name: series(name, at) for name, at in others.items()}


def table(**changes: Any) -> TableInfo:
    told: dict[str, Any] = {
        "name": "orders",
        "arn": ARN,
        "key": KEY,
        "indexes": (BY_DAY,),
        "item_count": 1_204_332,
        "size_bytes": 1_316_212_004,
        "stream_arn": f"{ARN}/stream/2025-06-01T09:00:00.000",
        "view_type": "NEW_AND_OLD_IMAGES",
    }
    return TableInfo(**told | changes)


def stream(**changes: Any) -> StreamSeen:
    told: dict[str, Any] = {
        "arn": f"{ARN}/stream/2025-06-01T09:00:00.000",
        "view_type": "NEW_AND_OLD_IMAGES",
        "on": True,
        "since_s": 1_748_768_400.0,
        "open_shards": 4,
        "closed_shards": 20,
    }
    return StreamSeen(**told | changes)


FIRES = WillFire(True, "no filter: sees every touched item as MODIFY", 40, 40)


def function(name: str, **changes: Any) -> ConsumerSeen:
    told: dict[str, Any] = {
        "name": name,
        "kind": "lambda",
        "state": "Enabled",
        "will_fire": FIRES,
        "function": name,
        "mapping": "6f1d7c1e-5a3b-4a53-9f0e-1f2e3d4c5b6a",
        "last_result": "OK",
        "batch_size": 100,
        "window_s": 0,
        "parallel": 1,
        "retries": -1,
        "max_age_s": -1,
        "bisects": False,
        "changed_s": NOW_S - 9 * 24 * HOUR_S,
        "metrics": of_function(),
    }
    return ConsumerSeen(**told | changes)


DATES = IndexSeen(
    "by_created_ymd",
    "created_ymd",
    "customer_id",
    items=1_204_332,
    attribute="created_ymd",
    role="partition",
    form="day",
    samples=("2025-11-24", "2025-11-23", "2025-11-25"),
    sparse=False,
    sampled=100,
    entries_a_day=4_112.0,
    wru_a_day=8_224.0,
)
OF_THE_TABLE = IndexSeen("", "customer_id", "order_id", items=1_204_332)
WRITTEN = series("ConsumedWriteCapacityUnits", lambda number: 14 + number % 5, namespace="AWS/DynamoDB")


def seen(**changes: Any) -> Seen:
    told: dict[str, Any] = {
        "table": table(),
        "now_s": NOW_S,
        "since_s": SINCE_S,
        "streams": (stream(),),
        "horizon": Horizon(NOW_S - 23.8 * HOUR_S, "the oldest records of 4 shards, read just now"),
        "indexes": (OF_THE_TABLE, DATES),
        "ttl": None,
        "point_in_time": PointInTime(on=False),
        "readers": 1,
        "readers_note": "mappings of other accounts and Kinesis Client Library applications are not listed",
        "written": WRITTEN,
        "asked_usd": 0.00008,
        "flags": ("--region", "eu-west-1"),
    }
    return Seen(**told | changes)


def diagnosis(of: Seen, **changes: Any) -> Diagnosis:
    told: dict[str, Any] = {"asked": Asked(), "seen": of, "losses": (), "ways": (), "closed": (), "advice": ()}
    told |= changes
    return Diagnosis(**told | {"ways": tuple(sorted(told["ways"], key=order))})


# ── the six ──────────────────────────────────────────────────────────────────────────────────────────────

NO_STREAM = diagnosis(
    seen(
        table=table(stream_arn=None, view_type=None, indexes=(), on_demand=False, write_capacity=40, read_capacity=80),
        streams=(),
        horizon=None,
        indexes=(OF_THE_TABLE,),
        readers=0,
        readers_note="",
        ttl="expires_at",
        point_in_time=PointInTime(True, NOW_S - 35 * 24 * HOUR_S, NOW_S - 300),
    ),
    ways=(
        Way(
            "export",
            "Export the window and replay it to one consumer",
            "restrike export orders --since 2025-11-24T11:00:00Z --to s3://BUCKET/PREFIX --region eu-west-1",
            "net",
            "unknown",
            usd=0.13,
            cannot=("what was inserted and deleted within a window has no record",),
        ),
    ),
    closed=(
        Closed("touch", "the table has no stream, and no Kinesis data stream gets its changes: nothing would fire"),
        Closed("replay from the stream", "there is none"),
        Closed("replay from an archive", "none is known; name one with --archive"),
    ),
    advice=(
        Advice(
            "no-stream",
            "Switch the stream on with both images: what changes from then on can be fired again.",
            "aws dynamodb update-table --table-name orders --region eu-west-1 "
            "--stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES",
        ),
    ),
)

HEALTHY = diagnosis(
    seen(consumers=(function("bookkeeper", retries=3, bisects=True, on_failure=None),)),
    losses=(
        Loss(
            "bookkeeper",
            "not visible",
            "no error, no throttle and nothing that was given up in 24 hours; a bug that threw nothing shows nowhere",
            hint="If you know when it began, give --since. The function was last changed 2025-11-16T11:00:00Z.",
            sign="nothing",
        ),
    ),
    ways=(
        Way(
            "replay",
            "Replay from the stream to bookkeeper alone",
            "restrike replay stream:orders --since 2025-11-24T11:12:00Z --to lambda:bookkeeper --if-superseded skip"
            " --region eu-west-1",
            "exact",
            "unknown",
            expires_s=NOW_S + 0.2 * HOUR_S,
            records=4_100,
            usd=0.004,
            seconds=42,
        ),
        Way(
            "touch",
            "Touch the items of a day by by_created_ymd",
            "restrike touch orders --index by_created_ymd --date 2025-11-24 --limit 10 --region eu-west-1",
            "synthetic",
            "unknown",
            records=4_112,
            usd=0.0051,
            seconds=17,
            cannot=("deleted items do not come back", "OldImage is the item as it is now"),
        ),
    ),
    closed=(
        Closed("redrive", "bookkeeper has no on-failure destination, so that nothing of it was kept"),
        Closed("export", "point-in-time recovery is off"),
    ),
    advice=(Advice("no-capture", "Nothing keeps the stream beyond 24 hours.", "restrike capture orders --to WHERE"),),
)

_QUEUE = Undelivered(
    "arn:aws:sqs:eu-west-1:123456789012:given-up",
    "sqs",
    "sqs://given-up",
    messages=12,
    oldest_age_s=20.5 * HOUR_S,
    expires_in_s=3.4 * HOUR_S,
    redrivable=True,
)

FAILING = diagnosis(
    seen(
        consumers=(
            function(
                "bookkeeper",
                last_result="PROBLEM: Function call failed",
                retries=2,
                max_age_s=3600,
                changed_s=NOW_S - 8.2 * HOUR_S,
                on_failure=_QUEUE,
                mapping_metrics=True,
                metrics=of_function(
                    errors=lambda number: 0 if number < 190 else 6 + number % 7,
                    age_ms=lambda number: 800 if number < 190 else min(3_600_000, (number - 190) * 90_000),
                    DestinationDeliveryFailures=lambda number: 1 if number == 260 else 0,
                    PolledEventCount=lambda _: 14,
                    FilteredOutEventCount=lambda _: 2,
                    InvokedEventCount=lambda number: 12 if number < 190 else 4,
                    FailedInvokeEventCount=lambda number: 0 if number < 190 else 8,
                    DroppedEventCount=lambda number: 3 if number == 260 else 0,
                    OnFailureDestinationDeliveredEventCount=lambda number: 1 if number > 275 else 0,
                ),
            ),
            function(
                "mailer:live",
                filters=('{"eventName":["INSERT"]}',),
                will_fire=WillFire(
                    False, "its filter drops the MODIFY records of all 40 sampled items", 0, 40, ("eventName",)
                ),
                parallel=10,
                batch_size=10,
                window_s=5,
            ),
            function(
                "search-indexer",
                filters=(
                    '{"dynamodb":{"NewImage":{"status":{"S":["PAID","SHIPPED","CANCELLED","RETURNED","REFUNDED"]}}}}',
                ),
                will_fire=WillFire(
                    True,
                    "its filter passes the MODIFY records of 31 of 40 sampled items",
                    31,
                    40,
                    ("dynamodb.NewImage.status.S",),
                ),
                shares_function=True,
            ),
        ),
        readers=3,
        readers_note="a third reader of a shard is throttled, and its age grows",
    ),
    asked=Asked(consumer="bookkeeper"),
    losses=(
        Loss(
            "bookkeeper",
            "certain",
            "its mapping gave up 12 batches, which its destination has, and 1 that the destination did not take",
            NOW_S - 8.2 * HOUR_S - PERIOD_S,
            NOW_S - PERIOD_S,
            1_203,
            sign="given up",
        ),
        Loss(
            "bookkeeper",
            "suspected",
            "875 calls failed; those that a retry mended lost nothing",
            NOW_S - 8.2 * HOUR_S - PERIOD_S,
            None,
            hint="The function was changed 2025-11-25T02:48:00Z, shortly before the first error.",
            sign="errors",
        ),
        Loss(
            "mailer:live",
            "not visible",
            "nothing failed in 24 hours; a bug that threw nothing shows nowhere",
            sign="nothing",
        ),
        Loss(
            "search-indexer",
            "not visible",
            "nothing failed in 24 hours; a bug that threw nothing shows nowhere",
            sign="nothing",
        ),
    ),
    ways=(
        Way(
            "redrive",
            "Redrive the 12 messages of given-up to bookkeeper",
            "restrike redrive sqs://given-up --to original --region eu-west-1",
            "exact",
            "part",
            expires_s=NOW_S + 3.4 * HOUR_S,
            records=1_200,
            usd=0.0,
            seconds=15,
            cannot=("the batch that the queue did not take is not in it",),
        ),
        Way(
            "replay",
            "Replay from the stream to bookkeeper alone",
            "restrike replay stream:orders --since 2025-11-25T02:43:00Z --until 2025-11-25T10:55:00Z --to "
            "lambda:bookkeeper --if-superseded skip --region eu-west-1",
            "exact",
            "whole",
            expires_s=NOW_S + 15.5 * HOUR_S,
            records=1_390,
            usd=0.002,
            seconds=31,
            cannot=("what bookkeeper did right is done once more",),
        ),
        Way(
            "touch",
            "Touch the items of a day by by_created_ymd",
            "restrike touch orders --index by_created_ymd --date 2025-11-25 --limit 10 --region eu-west-1",
            "synthetic",
            "part",
            only=False,
            others=("search-indexer",),
            records=4_112,
            usd=0.0051,
            seconds=17,
            cannot=("mailer:live is not fired: its filter refuses MODIFY", "deleted items do not come back"),
        ),
    ),
    closed=(
        Closed("replay from an archive", "none is known; name one with --archive"),
        Closed("export", "point-in-time recovery is off"),
    ),
    advice=(
        Advice("sqs-pointers", "given-up holds pointers that are good for 24 hours: a bucket keeps the records, too."),
        Advice("third-reader", "Three mappings read each shard, and two may: let one of them fan out to another."),
    ),
)

THROTTLED = diagnosis(
    seen(
        consumers=(
            function(
                "bookkeeper",
                retries=10_000,
                metrics=of_function(
                    invocations=lambda number: 40 if number < 210 else 6,
                    throttles=lambda number: 0 if number < 210 else 900 + number,
                    age_ms=lambda number: 700 if number < 210 else (number - 210) * 295_000,
                ),
            ),
        ),
        horizon=Horizon(None, "at most 24 h: two readers are known, and a third would be one too many"),
        readers=2,
        readers_note="GetRecords answered 2.0 times what was written: two read",
        unseen=(
            Unseen("the replicas' streams", "they are in other Regions"),
            Unseen("the pipes", "access denied", "pipes:ListPipes"),
            Unseen("point-in-time recovery", "no answer within 10 s"),
        ),
        point_in_time=None,
    ),
    losses=(
        Loss(
            "bookkeeper",
            "suspected",
            "90,519 calls were throttled; the mapping tries again: it is late by 6 h 23 min and lost nothing yet",
            NOW_S - 6.5 * HOUR_S,
            None,
            hint="What is 24 hours old is gone: raise the function's reserved concurrency now.",
            sign="throttles",
        ),
    ),
    ways=(
        Way(
            "replay",
            "Wait for it: the mapping goes on by itself, and a replay would be throttled, too",
            "restrike replay stream:orders --since 2025-11-25T04:25:00Z --to lambda:bookkeeper --rate 5 "
            "--region eu-west-1",
            "exact",
            "whole",
            expires_s=NOW_S + 17.4 * HOUR_S,
            only=True,
        ),
    ),
    closed=(Closed("redrive", "nothing was given up"),),
)

PIPES = diagnosis(
    seen(
        consumers=(
            ConsumerSeen("to-the-bus", "pipe", "RUNNING", FIRES, batch_size=1, retries=185),
            ConsumerSeen(
                "orders-to-search",
                "ingestion",
                "ACTIVE",
                WillFire(None, "its configuration names the table; what it reads cannot be told"),
            ),
            ConsumerSeen("lake", "kinesis", "ACTIVE", WillFire(True, "gets every change beside the stream")),
            function(
                "bookkeeper",
                state="Disabled",
                will_fire=WillFire(
                    False, "its event source mapping is Disabled: it sees the records when it is enabled in 24 h"
                ),
                metrics=of_function(
                    invocations=lambda number: 40 if number < 100 else None,
                    errors=lambda number: 0 if number < 100 else None,
                    age_ms=lambda number: 900 if number < 100 else None,
                ),
            ),
        ),
        readers=3,
        readers_note="GetRecords answered 3.1 times what was written: somebody reads who is not listed",
        warnings=(PlanWarning("clock", "This machine's clock is 4 min 10 s behind the service's."),),
        kept=(
            Kept(
                "archive",
                "s3://streams-of-production/orders",
                NOW_S - 90 * 24 * HOUR_S,
                NOW_S - 600,
                "exact",
                "captured continuously",
            ),
        ),
    ),
    losses=(
        Loss(
            "bookkeeper",
            "suspected",
            "no call for 15 h 40 min while the table was written: its mapping is Disabled",
            NOW_S - 15.7 * HOUR_S,
            None,
            sign="stopped",
        ),
    ),
    ways=(
        Way(
            "replay",
            "Replay from the archive to bookkeeper alone",
            "restrike replay archive:s3://streams-of-production/orders --since 2025-11-24T19:20:00Z --to "
            "lambda:bookkeeper --region eu-west-1",
            "exact",
            "whole",
            records=2_190,
            usd=0.01,
            seconds=25,
        ),
    ),
    closed=(Closed("touch", "bookkeeper's mapping is Disabled: it would see the records only when it is enabled"),),
)

GLOBAL = diagnosis(
    seen(
        table=table(
            replica_regions=("eu-central-1", "us-east-1"),
            consistency="EVENTUAL",
            indexes=(BY_DAY, IndexInfo("by_status", "global", KeySchema(KeyAttribute("status", "S")), "KEYS_ONLY")),
            max_write_request_units=2_000,
        ),
        streams=(
            stream(view_type="NEW_IMAGE"),
            stream(arn=f"{ARN}/stream/2024-01-01T00:00:00.000", on=False, since_s=1_704_067_200.0),
        ),
        indexes=(
            IndexSeen(
                "",
                "customer_id",
                "created_at",
                attribute="created_at",
                role="sort",
                form="epoch ms",
                samples=("1764068399123",),
            ),
            DATES,
            IndexSeen("by_status", "status", projection="KEYS_ONLY", sparse=True),
        ),
        consumers=(
            function("bookkeeper", state="Disabled", filters=("{}",) * 4, metrics={}, last_result="", changed_s=None),
        ),
        point_in_time=PointInTime(True, NOW_S - 35 * 24 * HOUR_S, NOW_S - 290),
        readers=2,
        readers_note="replication reads, too",
        written=None,
        asked_usd=0.0,
        unseen=(Unseen("metrics", "access denied", "cloudwatch:GetMetricData"),),
        kept=(
            Kept(
                "archive",
                "/var/lib/restrike/orders",
                NOW_S - 50 * 24 * HOUR_S,
                NOW_S - 3 * 24 * HOUR_S,
                "exact",
                "stopped 3 days ago",
                gaps=("2025-11-20T04:00:00Z to 2025-11-20T06:10:00Z: the stream was off",),
            ),
            Kept(
                "export",
                "s3://exports/orders",
                NOW_S - 3 * 24 * HOUR_S,
                NOW_S - 2 * 24 * HOUR_S,
                "net",
                "complete",
            ),
            Kept("run", "touch-orders-20251120T101500Z", NOW_S - 5 * 24 * HOUR_S, state="COMPLETED", verb="touch"),
        ),
    ),
    asked=Asked(key=("customer-080",)),
    losses=(
        Loss(
            "bookkeeper",
            "not visible",
            "its metrics could not be \x1b[31mread",
            hint="Give --since. \x1b[2JA name\u202e that is hostile moves nothing.",
        ),
    ),
    ways=(
        Way(
            "replay",
            "Replay the export to bookkeeper alone",
            "restrike replay export:s3://exports/orders --key customer-080 --to lambda:bookkeeper --region eu-west-1",
            "net",
            "part",
        ),
        Way(
            "touch",
            "Touch the items of customer-080",
            "restrike touch orders --partition-key 'customer-080\x1b[31m' --region eu-west-1",
            "synthetic",
            "whole",
            only=False,
            usd=0.03,
            cannot=("a change of another Region that is not here yet may be undone: --accept-replication-conflicts",),
        ),
    ),
    closed=(Closed("redrive", "bookkeeper has no on-failure destination"),),
    advice=(
        Advice(
            "old-image",
            "The view type NEW_IMAGE leaves OldImage out. It cannot be changed, only chosen anew: switching off and "
            "on makes a new stream, and each mapping must be pointed at it.",
        ),
    ),
)

WIRINGS = {
    "no-stream": NO_STREAM,
    "healthy": HEALTHY,
    "failing": FAILING,
    "throttled": THROTTLED,
    "pipes": PIPES,
    "global": GLOBAL,
}
