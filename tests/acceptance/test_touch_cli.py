"""`restrike touch` and `restrike runs` as their user meets them: exit codes, what goes where, stopping and going on."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from tests.acceptance import command
from tests.acceptance.command import Result, restrike, started
from tests.integration import tables
from tests.integration.tables import Table, numbers, run_name, until

REPORT = ["run", "verb", "table", "state", "selected", "fired", "overwrote", "already", "gone", "changed", "refused"]
REPORT += ["unknown", "failed", "seen", "leftover", "consumed_wcu", "elapsed_s", "items_per_s", "plan"]
SECRET = "do-not-print"
TOO_LONG = 400 * 1024 - len("pk") - len("p") - len("sk") - len("text") - 2  # no room for a marker


@pytest.fixture(scope="module")
def orders(dynamodb_local: str) -> Table:
    return tables.create(
        dynamodb_local,
        ("pk", "S"),
        ("sk", "N"),
        items=[{"pk": "p", "sk": 7_000_000 + n, "text": SECRET} for n in range(100)],
    )


def words(table: Table, *more: str, run: str | None = None) -> tuple[str, ...]:
    named = () if "--run" in more else ("--run", run or run_name())
    return ("touch", table.name, "--endpoint-url", table.endpoint_url, *named, *more)


def assert_error(result: Result, code: int, message: str) -> None:
    """The message on one line and the hint on the next, no traceback, and nothing on stdout."""
    assert result.code == code, result
    assert result.stdout == ""
    first, *hint = [line for line in result.stderr.splitlines() if not line.startswith(("warning:", "run "))]
    assert first.startswith("restrike: ")
    assert message in first
    assert hint
    assert hint[0].startswith("  ")
    assert "Traceback" not in result.stderr


def test_nobody_need_listen(orders: Table) -> None:
    """Neither to the plan nor to the report: what was to be done is done, and well."""
    run = run_name()
    line = " ".join(words(orders, "--partition-key", "p", "--execute", run=run))
    done = command.shell(f"{{ restrike {line}; echo $? >&3; }} 3>&2 2>&1 | head -1")
    assert (len(done.stdout.splitlines()), done.stderr) == (1, "0\n")
    assert command.runs()[run]["state"] == "COMPLETED"


# ── exit codes, stdout and stderr ────────────────────────────────────────────────────────────────────────


def test_the_report_is_one_object_on_stdout(orders: Table) -> None:
    run = run_name()
    result = restrike(*words(orders, "--partition-key", "p", "--limit", "60", "--execute", "--json", run=run))
    assert result.code == 0, result
    report = result.json
    assert list(report) == REPORT
    assert (report["run"], report["verb"], report["table"]) == (run, "touch", orders.name)
    assert report["state"] == "LIMITED"
    counts = [
        report[name] for name in ("selected", "fired", "already", "gone", "changed", "failed", "seen", "leftover")
    ]
    assert counts == [60, 60, 0, 0, 0, 0, 60, 0]
    assert report["consumed_wcu"] is None  # DynamoDB Local does not tell
    assert report["elapsed_s"] > 0
    assert report["items_per_s"] > 0
    assert f"restrike runs resume {run}" in result.stderr


def test_without_json_stdout_is_empty(orders: Table) -> None:
    result = restrike(*words(orders, "--partition-key", "p", "--sort-key", "= 7000000", "--execute"))
    assert (result.code, result.stdout) == (0, "")
    assert "1 selected, 1 fired, 1 seen on the stream" in result.stderr


def test_an_item_that_failed_is_exit_code_1(dynamodb_local: str) -> None:
    table = tables.create(
        dynamodb_local,
        ("pk", "S"),
        ("sk", "N"),
        items=[{"pk": "p", "sk": 1, "text": "x" * TOO_LONG}, {"pk": "p", "sk": 2}],
    )
    run = run_name()
    result = restrike(*words(table, "--partition-key", "p", "--execute", "--json", run=run))
    assert result.code == 1, result
    assert list(result.json) == REPORT
    assert (result.json["fired"], result.json["failed"], result.json["leftover"]) == (1, 1, 1)
    assert f"restrike runs show {run} --leftover" in result.stderr
    shown = restrike("runs", "show", run, "--leftover")
    assert shown.json["key"] == {"pk": {"S": "p"}, "sk": {"N": "1"}}
    assert list(shown.json) == ["key", "code", "message"]
    again = restrike(*words(table, "--keys", "-", "--execute", "--json"), stdin=shown.stdout)
    assert (again.code, again.json["failed"]) == (1, 1)


@pytest.mark.parametrize("more", [[], ["--json"], ["--execute"], ["--execute", "--json"]], ids=str)
def test_an_unknown_table_is_exit_code_3(dynamodb_local: str, more: list[str]) -> None:
    result = restrike("touch", "no-such-table", "--all", "--endpoint-url", dynamodb_local, *more)
    assert_error(result, 3, "there is no table no-such-table in us-east-1")


def test_an_unreachable_endpoint_is_exit_code_3() -> None:
    result = restrike("touch", "orders", "--all", "--endpoint-url", "http://127.0.0.1:9", "--execute", "--json")
    assert_error(result, 3, "127.0.0.1:9")


def test_no_credentials_are_exit_code_3(orders: Table) -> None:
    result = restrike(*words(orders, "--all"), AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert_error(result, 3, "redentials")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "nothing is selected"),
        (["--partition-key", "p", "--all"], "--all and --partition-key are different selections"),
        (["--partition-key", "p", "--run", "a b"], "'a b' is no name for a run"),
        (["--partition-key", "p", "--expect-account", "123456789012"], "not in 123456789012"),
        (["--partition-key", "p", "--marker", "sk"], "'sk' is a key attribute"),
        (["--keys", "/no/such/file"], "cannot read /no/such/file"),
        (["--keys", "run:nobody"], "no run 'nobody'"),
        (["--partition-key", "p", "--profile", "nobody"], "nobody"),
    ],
    ids=str,
)
@pytest.mark.parametrize("execute", [False, True])
def test_a_usage_error_is_exit_code_2(orders: Table, more: list[str], message: str, execute: bool) -> None:
    result = restrike(*words(orders, *(["--execute", "--json"] if execute else []), *more))
    assert_error(result, 2, message)


@pytest.mark.parametrize(
    "line",
    [
        ["touch"],
        ["touch", "t", "--rate", "fast"],
        ["touch", "t", "--nonsense"],
        ["nonsense"],
        ["runs", "show", "nobody"],
    ],
    ids=str,
)
def test_a_line_that_cannot_be_understood_is_exit_code_2(line: list[str]) -> None:
    result = restrike(*line)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("line", [["--debug", "touch", "orders"], ["touch", "orders", "--all", "--debug"]], ids=str)
def test_debug_shows_the_traceback(line: list[str]) -> None:
    result = restrike(*line, "--endpoint-url", "ftp://nowhere")
    assert result.code != 0
    assert "Traceback" in result.stderr


@pytest.mark.parametrize("more", [[], ["--json"], ["--debug"]], ids=str)
def test_no_value_of_an_item_is_printed_while_touching(orders: Table, more: list[str]) -> None:
    result = restrike(
        *words(orders, "--partition-key", "p", "--execute", *more),
        *("--filter-expression", "attribute_exists(#t)", "--expression-attribute-names", '{"#t": "text"}'),
    )
    assert result.code == 0, result
    assert "partition key p" in result.stderr  # what was typed is shown, and the plan's sample keys
    assert SECRET not in result.stderr
    assert SECRET not in result.stdout


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_runs_yet() -> None:
    listed = restrike("runs", "list", "--json")
    assert (listed.code, listed.json) == (0, {"runs": []})


def test_list_and_show(orders: Table) -> None:
    for run in ("first", "second"):
        assert restrike(*words(orders, "--partition-key", "p", "--limit", "2", "--execute", run=run)).code == 0
    listed = restrike("runs", "list", "--json").json["runs"]
    assert [run["run"] for run in listed] == ["second", "first"]
    expected = {"verb": "touch", "on": orders.name, "state": "LIMITED", "selected": 2, "fired": 2, "leftover": 0}
    assert expected.items() <= listed[0].items()

    people = restrike("runs", "list")
    assert people.code == 0
    assert all(name in people.stdout for name in ("first", "second", "LIMITED", orders.name))

    shown = restrike("runs", "show", "first", "--json").json
    assert expected.items() <= shown.items()
    assert shown["request"]["request"]["selection"]["partition_key"] == "p"
    assert re.search(r"^fired +2$", restrike("runs", "show", "first").stdout, re.MULTILINE)
    assert restrike("runs", "show", "first", "--leftover").stdout == ""


def test_a_ledger_of_its_own(orders: Table, tmp_path: object) -> None:
    elsewhere = f"{tmp_path}/elsewhere/books.db"
    assert (
        restrike(
            *words(orders, "--partition-key", "p", "--limit", "1", "--execute", "--ledger", elsewhere, run="r")
        ).code
        == 0
    )
    assert command.runs() == {}
    assert restrike("runs", "show", "r", "--json", RESTRIKE_LEDGER=elsewhere).json["fired"] == 1


def test_resume_of_a_canary_and_of_what_is_done(orders: Table) -> None:
    run = run_name()
    assert restrike(*words(orders, "--partition-key", "p", "--limit", "5", "--execute", run=run)).code == 0
    resumed = restrike("runs", "resume", run, "--execute", "--json")
    assert (resumed.code, list(resumed.json)) == (0, REPORT)
    assert (resumed.json["state"], resumed.json["selected"], resumed.json["seen"]) == ("COMPLETED", 100, 100)
    assert_error(restrike("runs", "resume", run, "--json"), 2, f"run {run} is complete")
    assert_error(restrike("runs", "cancel", run), 2, f"run {run} is completed already")
    assert_error(restrike("runs", "resume", "nobody"), 2, "no run 'nobody'")


# ── stopping and going on ────────────────────────────────────────────────────────────────────────────────

SLOW = ("--partition-key", "p", "--ordered", "--rate", "0.2", "--execute", "--json")
"""One item at a time, 100 in 500 s: it never comes to its end, however slow a machine is to stop it."""


def each_once(table: Table, run: str) -> None:
    assert table.fired(run) == {("p", Decimal(7_000_000 + n)): 1 for n in range(100)}


def test_an_interrupt_is_exit_code_130_and_resume_completes(orders: Table) -> None:
    run = run_name()
    with started(*words(orders, *SLOW, run=run)) as running:
        until(lambda: orders.fired(run), "the first items")
        result = running.interrupt()
    assert result.code == 130, result
    report = result.json
    assert list(report) == REPORT
    assert report["state"] == "INTERRUPTED"
    fired = orders.fired(run).total()
    assert 0 < fired < 100
    assert (report["selected"], report["fired"]) == (fired, fired)  # what was in flight was finished and counted
    assert "Traceback" not in result.stderr

    (line,) = re.findall(r"^go on with: (restrike runs resume .*)$", result.stderr, re.MULTILINE)
    resumed = command.shell(f"{line} --rate 1000 --json")
    assert resumed.code == 0, resumed
    assert (resumed.json["state"], resumed.json["selected"]) == ("COMPLETED", 100)
    assert (resumed.json["fired"], resumed.json["already"], resumed.json["seen"]) == (100, 0, 100)
    each_once(orders, run)


@pytest.mark.parametrize("api", ["partiql", "update-item"])
def test_an_interrupt_does_not_wait_for_a_slow_pace(orders: Table, api: str) -> None:
    """At an item in two minutes what has leave to write much later is not in flight."""
    run = run_name()
    with started(*words(orders, "--all", "--api", api, "--rate", "0.01", "--execute", "--json", run=run)) as running:
        until(lambda: orders.fired(run), "the first items")
        result = running.interrupt()  # fails where it takes longer than the command's time-out
    assert result.code == 130, result
    assert result.json["fired"] == orders.fired(run).total() < 100
    again = restrike(*words(orders, "--all", "--api", api, "--execute", "--json", run=run))
    assert (again.code, again.json["selected"], again.json["fired"]) == (0, 100, 100)
    each_once(orders, run)


def test_cancel_stops_a_run_and_resume_completes_it(orders: Table) -> None:
    run = run_name()
    with started(*words(orders, *SLOW, run=run)) as running:
        until(lambda: orders.fired(run), "the first items")
        cancelled = restrike("runs", "cancel", run)
        result = running.end()
    assert cancelled.code == 0, cancelled
    assert result.json["state"] == "CANCELLED"
    assert 0 < result.json["fired"] < 100
    assert f"restrike runs resume {run}" in result.stderr
    assert command.runs()[run]["state"] == "CANCELLED"
    again = restrike("runs", "cancel", run)
    assert (again.code, f"run {run} is cancelled already" in again.stderr) == (0, True), again
    assert_error(restrike("runs", "pause", run), 2, f"run {run} is not at work: it is cancelled")

    resumed = restrike("runs", "resume", run, "--rate", "1000", "--execute", "--json")
    assert (resumed.code, resumed.json["state"], resumed.json["fired"]) == (0, "COMPLETED", 100), resumed
    each_once(orders, run)


def test_a_killed_run_shows_as_interrupted_and_can_be_cancelled(orders: Table) -> None:
    run = run_name()
    with started(*words(orders, *SLOW, run=run)) as running:
        until(lambda: orders.fired(run), "the first items")
        running.process.kill()
        running.process.wait()
        assert command.runs()[run]["state"] == "INTERRUPTED"
    assert restrike("runs", "cancel", run).code == 0
    assert command.runs()[run]["state"] == "CANCELLED"


def test_a_sort_key_of_the_same_run_is_another_selection(orders: Table) -> None:
    run = run_name()
    assert restrike(*words(orders, "--partition-key", "p", "--limit", "1", "--execute", run=run)).code == 0
    refused = restrike(*words(orders, "--partition-key", "p", "--sort-key", "> 3", "--execute", "--json", run=run))
    assert_error(
        refused,
        2,
        f"run {run} exists and is another: selection: it was partition key p, and is partition key p, sort key > 3",
    )
    assert numbers(list(orders.fired(run))) == [7_000_000]
