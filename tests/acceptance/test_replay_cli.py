"""`restrike replay` as its user meets it: plans, filters, sources, targets, stopping and going on."""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.command import Result, restrike, runs, started
from tests.integration import tables
from tests.integration.tables import Table, run_name, until
from tests.servers.faults import Trimmed, faulty

REPORT = ["run", "verb", "source", "target", "state", "selected", "filtered", "delivered", "skipped_superseded"]
REPORT += ["skipped_deleted", "failed", "batches", "invocations", "fidelity", "first", "last", "elapsed_s"]
REPORT += ["records_per_s"]
BEGIN_S = 1_600_000_000  # 2020-09-13T12:26:40Z
ARN = "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2020-09-13T00:00:00.000"
EVENTS = ("INSERT", "MODIFY", "REMOVE")

HANDLER = """
import json, os

FILE = os.open("got", os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def handle(event, context):
    if any(each["dynamodb"]["Keys"]["pk"]["S"] == "k3" for each in event["Records"]) and not os.path.exists("mended"):
        raise ValueError("k3 is bad")
    os.write(FILE, b"".join(json.dumps(each).encode() + b"\\n" for each in event["Records"]))


def handle_all(event, context):
    os.write(FILE, b"".join(json.dumps(each).encode() + b"\\n" for each in event["Records"]))


def all_bad(event, context):
    if not os.path.exists("mended"):
        raise ValueError("bad")
    handle(event, context)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "consumer.py").write_text(HANDLER)
    return tmp_path


def change(number: int) -> dict[str, Any]:
    """The record of place `number`: one a second, ten items in turn, the three events in turn."""
    keys = {"pk": {"S": f"k{number % 10}"}}
    body = {
        "ApproximateCreationDateTime": BEGIN_S + number,
        "Keys": keys,
        "SequenceNumber": str(10**20 + number),
        "SizeBytes": 20,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    }
    event = EVENTS[number % 3]
    if event != "REMOVE":
        body["NewImage"] = {**keys, "n": {"N": str(number)}}
    if event != "INSERT":
        body["OldImage"] = {**keys, "n": {"N": str(number - 1)}}
    return {
        "eventID": f"id{number}",
        "eventName": event,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": body,
        "eventSourceARN": ARN,
    }


def write(path: str, records: Iterable[dict[str, Any]]) -> str:
    Path(path).write_text("".join(json.dumps(record) + "\n" for record in records))
    return f"jsonl:{path}"


def read(path: str | Path) -> list[dict[str, Any]]:
    """The whole lines of a file; none where there is no file."""
    text = Path(path).read_text() if Path(path).exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def numbers(records: Sequence[dict[str, Any]]) -> list[int]:
    return [int(record["eventID"].removeprefix("id")) for record in records]


def replay(source: str, *words: str, to: str = "jsonl:out", run: str | None = None, stdin: str = "") -> Result:
    return restrike(
        "replay", source, "--to", to, *words, "--run", run or run_name(), "--execute", "--json", stdin=stdin
    )


def done(result: Result) -> dict[str, Any]:
    """The report of a run that came to its end; the counts add up."""
    assert result.code == 0, result
    report = result.json
    assert list(report)[: len(REPORT)] == REPORT
    skipped = report["skipped_superseded"] + report["skipped_deleted"]
    assert report["selected"] == report["delivered"] + report["failed"] + skipped
    return report


def assert_refused(result: Result, message: str) -> None:
    assert result.code == 2, result
    assert result.stdout == ""
    first, *hint = [line for line in result.stderr.splitlines() if not line.startswith(("warning:", "run "))]
    assert first.startswith("restrike: ")
    assert message in first
    assert hint
    assert hint[0].startswith("  ")
    assert "Traceback" not in result.stderr


# ── plan and report ──────────────────────────────────────────────────────────────────────────────────────


def test_a_plan_delivers_nothing_and_its_command_does() -> None:
    source = write("in", map(change, range(30)))
    plan = restrike("replay", source, "--to", "jsonl:out", "--run", "planned")
    assert (plan.code, plan.stderr) == (0, "")
    assert "Nothing was delivered" in plan.stdout
    assert read("out") == []
    assert runs() == {}
    command = plan.stdout.splitlines()[-1].split()
    assert command[-1] == "--execute"
    assert restrike(*command[1:]).code == 0
    assert read("out") == [change(number) for number in range(30)]
    assert runs()["planned"]["state"] == "COMPLETED"


def test_the_plan_as_json() -> None:
    source = write("in", map(change, range(30)))
    result = restrike("replay", source, "--to", "jsonl:out", "--batch-size", "7", "--run", "planned", "--json")
    assert result.code == 0, result
    plan = result.json["plan"]
    assert (plan["verb"], plan["run"], plan["source"], plan["target"]) == ("replay", "planned", source, "jsonl:out")
    assert plan["records"]["count"] == 30
    assert (plan["first"], plan["last"]) == ("2020-09-13T12:26:40Z", "2020-09-13T12:27:09Z")
    assert plan["fidelity"] == "exact"
    assert plan["settings"]["batch_size"] == {"value": "7", "from": "as given"}
    assert plan["settings"]["parallel"]["from"] == "default"
    assert plan["invocations"] == 5
    assert plan["command"].startswith("restrike replay jsonl:in --to jsonl:out")


def test_the_plan_says_what_of_a_pattern_will_not_do_as_one_may_expect() -> None:
    source = write("in", map(change, range(3)))
    pattern = '{"dynamodb": {"NewImage": {"n": {"N": [5]}}}}'
    warnings = restrike("replay", source, "--to", "jsonl:out", "--pattern", pattern, "--json").json["plan"]["warnings"]
    (told,) = [each["message"] for each in warnings if each["code"] == "pattern"]
    assert "--pattern" in told
    assert "a number is never equal to it" in told


def test_the_report_as_json() -> None:
    source = write("in", map(change, range(30)))
    report = done(replay(source, "--batch-size", "7", "--event", "INSERT,MODIFY", run="r"))
    assert (report["run"], report["verb"], report["state"]) == ("r", "replay", "COMPLETED")
    assert (report["source"], report["target"]) == (source, "jsonl:out")
    assert (report["selected"], report["filtered"], report["delivered"]) == (20, 10, 20)
    assert (report["batches"], report["invocations"]) == (3, 3)
    assert report["fidelity"] == {"exact": 20, "net": 0, "synthetic": 0}
    assert (report["first"], report["last"]) == ("2020-09-13T12:26:40Z", "2020-09-13T12:27:08Z")
    assert report["elapsed_s"] > 0


def test_records_go_to_standard_output_and_nothing_else_does() -> None:
    source = write("in", map(change, range(10)))
    result = replay(source, to="-")
    assert result.code == 0, result
    assert [json.loads(line) for line in result.stdout.splitlines()] == [change(number) for number in range(10)]


# ── filters ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--since", "2020-09-13T12:26:50Z"], range(10, 30)),
        (["--until", "2020-09-13T14:26:50+02:00"], range(10)),
        (["--since", "2020-09-13T12:26:45Z", "--until", "2020-09-13T12:26:50Z"], range(5, 10)),
        (["--last", "1h"], []),
        (["--key", "k4"], [4, 14, 24]),
        (["--key", "k/4"], []),
        (["--event", "REMOVE"], range(2, 30, 3)),
        (["--event", "insert,REMOVE"], [n for n in range(30) if n % 3 != 1]),
        (["--pattern", '{"dynamodb": {"NewImage": {"n": {"N": [{"prefix": "1"}]}}}}'], [1, 10, 12, 13, 15, 16, 18, 19]),
        (["--where", "dynamodb.NewImage.n > `20`"], [21, 22, 24, 25, 27, 28]),
        (["--event", "MODIFY", "--where", "dynamodb.OldImage.n < `9`", "--key", "k4"], [4]),
    ],
)
def test_filters(words: list[str], wanted: Iterable[int]) -> None:
    report = done(replay(write("in", map(change, range(30))), *words))
    assert numbers(read("out")) == list(wanted)
    assert report["selected"] == report["delivered"] == len(list(wanted))
    assert report["filtered"] == 30 - report["selected"]


def test_last_is_up_to_now() -> None:
    records = [change(number) for number in range(3)]
    records[2]["dynamodb"]["ApproximateCreationDateTime"] = 4_000_000_000
    done(replay(write("in", records), "--last", "1h"))
    assert numbers(read("out")) == [2]


def test_a_limited_run_is_completed_by_resume() -> None:
    source = write("in", map(change, range(3_000)))
    result = replay(source, "--limit", "130", "--event", "INSERT", "--parallel", "4", "--batch-size", "9", run="r")
    report = done(result)
    assert (report["state"], report["selected"], report["delivered"]) == ("LIMITED", 130, 130)
    assert sorted(numbers(read("out"))) == list(range(0, 390, 3))
    assert "restrike runs resume r" in result.stderr
    report = done(restrike("runs", "resume", "r", "--rate", "100000", "--execute", "--json"))
    assert (report["state"], report["selected"], report["filtered"]) == ("COMPLETED", 1_000, 2_000)
    assert sorted(numbers(read("out"))) == list(range(0, 3_000, 3))
    assert_refused(restrike("runs", "resume", "r"), "complete")


def test_a_limit_counts_what_was_delivered_not_what_was_read() -> None:
    """Interrupted, a limited run still comes to its limit."""
    source = write("in", map(change, range(3_000)))
    words = ("--limit", "600", "--event", "INSERT", "--parallel", "4", "--batch-size", "10", "--rate", "10")
    with started("replay", source, "--to", "jsonl:out", *words, "--run", "r", "--execute", "--json") as run:
        until(lambda: len(read("out")) >= 10, "a batch, of 60 in a minute")
        interrupted = run.interrupt()
    assert interrupted.code == 130, interrupted
    assert "restrike runs resume r" in interrupted.stderr
    assert interrupted.json["selected"] == len(read("out")) < 600
    report = done(restrike("runs", "resume", "r", "--rate", "100000", "--execute", "--json"))
    assert (report["state"], report["delivered"]) == ("LIMITED", 600)
    assert sorted(numbers(read("out"))) == list(range(0, 1_800, 3))
    report = done(restrike("runs", "resume", "r", "--execute", "--json"))
    assert (report["state"], report["selected"], report["filtered"]) == ("COMPLETED", 1_000, 2_000)
    assert sorted(numbers(read("out"))) == list(range(0, 3_000, 3))


# ── sources and targets ──────────────────────────────────────────────────────────────────────────────────


def test_standard_input_is_kept_so_that_the_run_goes_on() -> None:
    text = "".join(json.dumps(change(number)) for number in range(200))  # with nothing between
    result = replay("-", "--limit", "50", run="r", stdin=text)
    assert (done(result)["delivered"], done(result)["source"]) == (50, "-")
    assert done(restrike("runs", "resume", "r", "--execute", "--json"))["source"] == "-"
    assert numbers(read("out")) == list(range(200))


def test_a_plan_of_standard_input_leaves_nothing_behind() -> None:
    result = restrike("replay", "-", "--to", "jsonl:out", stdin=json.dumps(change(1)))
    assert result.code == 0, result
    state = Path("state")
    assert [path for path in state.rglob("*") if "source" in path.name or path.suffix == ".jsonl"] == []


@pytest.mark.parametrize("to", ["jsonl:out", "-"])
def test_events_are_whole_batches(to: str) -> None:
    result = replay(write("in", map(change, range(25))), "--events", "--batch-size", "10", to=to)
    assert result.code == 0, result
    events = read("out") if to != "-" else [json.loads(line) for line in result.stdout.splitlines()]
    assert [set(event) for event in events] == [{"Records"}] * 3
    assert [numbers(event["Records"]) for event in events] == [[*range(10)], [*range(10, 20)], [*range(20, 25)]]


def test_fresh_event_ids_change_nothing_else() -> None:
    done(replay(write("in", map(change, range(20))), "--event-id", "fresh"))
    found = read("out")
    ids = {record["eventID"] for record in found}
    assert len(ids) == 20
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids)
    assert [{**record, "eventID": f"id{n}"} for n, record in enumerate(found)] == [change(n) for n in range(20)]


@pytest.fixture(scope="module")
def orders(dynamodb_local: str) -> Table:
    items: list[tables.Item] = [{"pk": f"p{n % 3}", "sk": n, "n": n} for n in range(12)]
    return tables.create(dynamodb_local, ("pk", "S"), ("sk", "N"), items=items)


@pytest.mark.parametrize(
    ("words", "images"),
    [
        ([], {"NewImage"}),
        (["--as", "INSERT"], {"NewImage"}),
        (["--as", "MODIFY"], {"NewImage", "OldImage"}),
        (["--as", "MODIFY", "--no-old-image"], {"NewImage"}),
        (["--as", "REMOVE"], {"OldImage"}),
    ],
)
def test_items_as_records(orders: Table, words: list[str], images: set[str]) -> None:
    report = done(replay(f"table:{orders.name}", "--all", *words, "--endpoint-url", orders.endpoint_url))
    assert report["fidelity"] == {"exact": 0, "net": 0, "synthetic": 12}
    found = read("out")
    assert sorted(int(record["dynamodb"]["Keys"]["sk"]["N"]) for record in found) == list(range(12))
    for record in found:
        assert record["eventName"] == (words[1] if words else "INSERT")
        assert {"NewImage", "OldImage"} & set(record["dynamodb"]) == images
        for image in images:
            assert record["dynamodb"][image]["n"] == record["dynamodb"]["Keys"]["sk"]
        assert record["eventSourceARN"].startswith("arn:aws:dynamodb:")


def test_items_of_one_key(orders: Table) -> None:
    source = f"table:{orders.name}"
    done(replay(source, "--partition-key", "p1", "--sort-key", ">= 4", "--endpoint-url", orders.endpoint_url))
    assert sorted(int(record["dynamodb"]["Keys"]["sk"]["N"]) for record in read("out")) == [4, 7, 10]


# ── failures ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("given", [True, False], ids=["named", "default"])
def test_what_was_given_up_can_be_replayed(given: bool) -> None:
    source = write("in", map(change, range(60)))
    words = ["--on-failure", "jsonl:failed"] if given else []
    result = replay(source, "--retries", "0", "--bisect", *words, to="handler:consumer:handle")
    assert result.code == 1, result
    report = result.json
    assert (report["state"], report["selected"], report["delivered"], report["failed"]) == ("COMPLETED", 60, 54, 6)
    assert "k3 is bad" in Path(report["on_failure"]).read_text()
    if given:
        assert report["on_failure"] == str(Path("failed").absolute())
    assert numbers(read("got")) == [number for number in range(60) if number % 10 != 3]
    done(replay(f"jsonl:{report['on_failure']}"))
    assert read("out") == [change(number) for number in range(3, 60, 10)]


def test_too_many_failures_stop_the_run_which_can_go_on() -> None:
    source = write("in", map(change, range(60)))
    words = ("--retries", "0", "--batch-size", "10", "--max-failures", "15", "--on-failure", "jsonl:failed")
    result = replay(source, *words, to="handler:consumer:all_bad", run="r")
    assert result.code == 5, result
    report = result.json
    assert (report["state"], report["failed"], report["delivered"]) == ("FAILED", 20, 0)
    assert "restrike runs resume r" in result.stderr
    assert "Traceback" not in result.stderr
    Path("mended").touch()
    result = restrike("runs", "resume", "r", "--execute", "--json")
    assert result.code == 1, result
    report = result.json
    assert (report["state"], report["selected"], report["failed"], report["delivered"]) == ("COMPLETED", 60, 20, 40)
    assert numbers(read("got")) == list(range(20, 60))
    given_up = [record for event in read("failed") for record in event["Records"]]
    assert numbers(given_up) == list(range(20))


# ── superseded ───────────────────────────────────────────────────────────────────────────────────────────


def test_superseded_records_are_skipped(dynamodb_local: str) -> None:
    table = tables.create(dynamodb_local, ("pk", "S"))
    for pk in ("current", "twice", "changed", "deleted", "removed", "touched", "back"):
        table.load([{"pk": pk, "n": 1}])
    table.load([{"pk": "twice", "n": 2}])
    for pk in ("removed", "back"):
        table.dynamodb.delete_item(TableName=table.name, Key={"pk": {"S": pk}})
    write("in", [_lambda(record, table.stream_arn) for record in table.records()])
    table.load([{"pk": "changed", "n": 2}, {"pk": "back", "n": 5}])
    table.dynamodb.delete_item(TableName=table.name, Key={"pk": {"S": "deleted"}})
    tables.touch(table, partition_key="touched", verify=False)
    words = ("--endpoint-url", dynamodb_local, "--if-superseded", "skip")

    plan = restrike("replay", "jsonl:in", "--to", "jsonl:out", *words, "--json")
    assert plan.code == 0, plan
    assert plan.json["plan"]["superseded"] == {"current": 4, "superseded": 2, "deleted": 1}

    report = done(replay("jsonl:in", *words))
    sent = [(record["dynamodb"]["Keys"]["pk"]["S"], record["eventName"]) for record in read("out")]
    assert sent == [
        ("current", "INSERT"),
        ("twice", "INSERT"),
        ("removed", "INSERT"),
        ("touched", "INSERT"),
        ("twice", "MODIFY"),
        ("removed", "REMOVE"),
    ]
    assert (report["selected"], report["skipped_superseded"], report["skipped_deleted"]) == (10, 3, 1)

    done(replay("jsonl:in", *words, "--ignore-attributes", "n", to="jsonl:ignoring", run="ignoring"))
    other = replay("jsonl:in", *words, "--ignore-attributes", "m", to="jsonl:ignoring", run="ignoring")
    assert other.code == 2
    assert "run ignoring exists and is another: --ignore-attributes: it was n" in other.stderr
    kept = {record["dynamodb"]["Keys"]["pk"]["S"] for record in read("ignoring")}
    assert kept == {"current", "twice", "changed", "removed", "touched"}
    done(replay("jsonl:in", to="jsonl:all"))
    assert len(read("all")) == 10


def _lambda(record: dict[str, Any], stream_arn: str) -> dict[str, Any]:
    body = dict(record["dynamodb"])
    body["ApproximateCreationDateTime"] = body["ApproximateCreationDateTime"].timestamp()
    return {**record, "dynamodb": body, "eventSourceARN": stream_arn}


# ── follow ───────────────────────────────────────────────────────────────────────────────────────────────


def test_follow_begins_at_the_newest_end_and_keeps_its_place(dynamodb_local: str) -> None:
    table = tables.create(dynamodb_local, ("pk", "S"), items=[{"pk": f"old{n}"} for n in range(10)])
    follow = ("replay", f"stream:{table.name}", "--to", "jsonl:out", "--follow", "--endpoint-url", dynamodb_local)

    def arrived() -> list[str]:
        return [record["dynamodb"]["Keys"]["pk"]["S"] for record in read("out")]

    def probed() -> bool:
        probes.append(f"probe{len(probes):03}")
        table.load([{"pk": probes[-1]}])
        return bool(arrived())

    probes: list[str] = []
    with started(*follow, "--run", "r", "--execute", "--json") as run:
        until(probed, "the first record")
        table.load([{"pk": f"new{n}"} for n in range(100)])
        until(lambda: "new99" in arrived(), "the new records")
        first = run.interrupt()
    assert first.code == 0, first  # being stopped is how it ends
    assert first.json["state"] == "INTERRUPTED"
    assert "restrike runs resume r" in first.stderr
    table.load([{"pk": f"while{n}"} for n in range(50)])
    with started("runs", "resume", "r", "--execute", "--json") as run:
        until(lambda: "while49" in arrived(), "what was written meanwhile")
        table.load([{"pk": f"then{n}"} for n in range(20)])
        until(lambda: "then19" in arrived(), "what came then")
        second = run.interrupt()
    assert second.code == 0, second
    wanted = [name for name, count in (("new", 100), ("while", 50), ("then", 20)) for name in _names(name, count)]
    found = arrived()
    begun = probes.index(found[0])
    assert found == [*probes[begun:], *wanted]
    assert second.json["delivered"] == second.json["selected"] == len(found)


def test_what_the_stream_has_lost_is_reported_by_shard_and_time_also_when_the_run_goes_on(dynamodb_local: str) -> None:
    table = tables.create(dynamodb_local, ("pk", "S"), items=[{"pk": f"k{n}"} for n in range(30)])
    with faulty(dynamodb_local) as proxy:
        words = ("replay", f"stream:{table.name}", "--to", "jsonl:out", "--endpoint-url", proxy.endpoint_url)
        planned = restrike(*words, "--json").json["plan"]
        assert "2 that a shard allows" in planned["readers"]
        proxy.script([Trimmed("GetRecords", skip=2, times=1)])  # the plan asks for two pages
        first = restrike(*words, "--limit", "10", "--run", "r", "--execute", "--json")
        assert first.code == 4, first
        (lost,) = first.json["gaps"]
        assert lost["shard"].startswith("shardId-")
        assert lost["to"] == first.json["first"]
        assert f"lost: {lost['shard']} from an unknown time to" in first.stderr
        assert first.json["readers"] == planned["readers"]
        second = restrike("runs", "resume", "r", "--execute", "--json")
        assert (second.code, second.json["state"], second.json["delivered"]) == (4, "COMPLETED", 30)
        assert second.json["gaps"] == [lost]


def test_records_follow_prints_what_comes(dynamodb_local: str) -> None:
    table = tables.create(dynamodb_local, ("pk", "S"), items=[{"pk": "old"}])
    words = ("records", f"stream:{table.name}", "--follow", "--event", "INSERT", "--json")
    with started(*words, "--endpoint-url", dynamodb_local) as run:
        assert run.process.stdout is not None
        stop = threading.Event()
        writing = threading.Thread(target=_write_until, args=(table, stop))
        writing.start()
        try:
            first = json.loads(run.process.stdout.readline())  # pytest's time-out bounds it
        finally:
            stop.set()
            writing.join()
        assert first["eventName"] == "INSERT"
        assert first["dynamodb"]["Keys"]["pk"]["S"].startswith("new")
        assert run.interrupt().code == 0  # being stopped is how it ends


def _write_until(table: tables.Table, stop: threading.Event) -> None:
    for number in itertools.count():
        if stop.wait(0.05):
            return
        table.load([{"pk": f"new{number}"}])


def _names(name: str, count: int) -> list[str]:
    return [f"{name}{number}" for number in range(count)]


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("source", "words", "message"),
    [
        ("nonsense", ["--to", "jsonl:out"], "'nonsense' is no source"),
        ("s3:somewhere", ["--to", "jsonl:out"], "is no source"),
        ("jsonl:absent", ["--to", "jsonl:out"], "absent: No such file"),
        ("jsonl:in", [], "no target is named"),
        ("jsonl:in", ["--to", "nonsense"], "'nonsense' is no target"),
        ("jsonl:in", ["--to", "handler:no_such_module:handle"], "no_such_module"),
        ("jsonl:in", ["--to", "jsonl:no/folder/out"], "cannot be written"),
        ("jsonl:in", ["--to", "jsonl:out", "--since", "yesterday"], "--since 'yesterday' is no time"),
        ("jsonl:in", ["--to", "jsonl:out", "--until", "2020-09-13T12:00:00"], "has no time zone"),
        ("jsonl:in", ["--to", "jsonl:out", "--last", "soon"], "is no duration"),
        ("jsonl:in", ["--to", "jsonl:out", "--event", "UPSERT"], "--event"),
        ("jsonl:in", ["--to", "jsonl:out", "--where", "a ["], "--where is no JMESPath"),
        ("jsonl:in", ["--to", "jsonl:out", "--pattern", '{"a":'], "JSON"),
        (
            "jsonl:in",
            ["--to", "handler:consumer:handle", "--events"],
            "handle has no use for --events",
        ),
        ("jsonl:in", ["--to", "jsonl:out", "--follow"], "jsonl:in has no use for --follow"),
    ],
)
@pytest.mark.parametrize("executed", [False, True], ids=["plan", "execute"])
def test_what_cannot_be_is_refused(source: str, words: list[str], message: str, executed: bool) -> None:
    write("in", [change(1)])
    assert_refused(restrike("replay", source, *words, *(["--execute"] if executed else [])), message)
    assert read("out") == []
    assert runs() == {}


def test_a_target_that_lost_what_was_delivered_is_told() -> None:
    """As after a power cut: the ledger knows of records that the file has not."""
    source = write("in", map(change, range(200)))
    assert done(replay(source, "--limit", "100", run="r"))["delivered"] == 100
    kept = Path("out").read_bytes().splitlines(keepends=True)[:60]
    Path("out").write_bytes(b"".join(kept))
    result = restrike("runs", "resume", "r", "--execute")
    assert result.code == 5, result
    assert "some of it is lost" in result.stderr
    assert numbers(read("out")) == list(range(60))


def test_a_file_that_is_there_is_not_written_over() -> None:
    source = write("in", [change(1)])
    write("out", [change(2)])
    assert_refused(replay(source), "not empty")
    assert numbers(read("out")) == [2]


@pytest.mark.parametrize("other", ["source", "target", "filter"])
def test_a_name_is_of_one_replay(other: str) -> None:
    source = write("in", [change(1)])
    done(replay(source, run="r"))
    another = write("another", [change(2)]) if other == "source" else source
    to = "jsonl:elsewhere" if other == "target" else "jsonl:out"
    words = ["--key", "k1"] if other == "filter" else []
    assert_refused(replay(another, *words, to=to, run="r"), f"run r exists and is another: {other}: it was")
    assert numbers(read("out")) == [1]
    done(replay(source, run="r"))
    assert numbers(read("out")) == [1]
