"""Every way of selecting, on a real DynamoDB: exactly the items that were meant fire, by the stream's own account."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

import restrike
from restrike.errors import UsageError
from restrike.model.table import KeyType
from tests.acceptance import command
from tests.integration import tables
from tests.integration.tables import Index, Item, Table, Value, base64_text, numbers, touch, touched

# ── one partition key, and conditions on the sort key ────────────────────────────────────────────────────

SORT_KEYS: dict[KeyType, list[Value]] = {
    "S": ["a", "ab", "abc", "b", "z z", "ä"],
    "N": [Decimal(-10), Decimal("-1.5"), Decimal(0), Decimal(2), Decimal(10), Decimal("1E+20")],
    "B": [b"\x00", b"\x00\xff", b"\x7f", b"\xff"],
}
BIG = "12345678901234567890123456789012345678"
B_00, B_7F = base64_text(b"\x00"), base64_text(b"\x7f")


@pytest.fixture(scope="module")
def sorted_tables(dynamodb_local: str) -> dict[KeyType, Table]:
    """A table for each type of sort key: the same sort keys under two partition keys."""
    return {
        kind: tables.create(
            dynamodb_local,
            ("pk", "S"),
            ("sk", kind),
            items=[{"pk": partition, "sk": value} for partition in ("p", "q") for value in values],
        )
        for kind, values in SORT_KEYS.items()
    }


@pytest.mark.parametrize(
    ("kind", "condition", "expected"),
    [
        ("S", None, slice(None)),
        ("S", "= ab", slice(1, 2)),
        ("S", "=ab", slice(1, 2)),
        ("S", "< ab", slice(0, 1)),
        ("S", "<= ab", slice(0, 2)),
        ("S", "> ab", slice(2, None)),
        ("S", ">=ab", slice(1, None)),
        ("S", "between ab b", slice(1, 4)),
        ("S", "BETWEEN ab AND b", slice(1, 4)),
        ("S", 'between "z z" ä', slice(4, 6)),
        ("S", "= z z", slice(4, 5)),
        ("S", "begins_with ab", slice(1, 3)),
        ("S", "begins_with ä", slice(5, 6)),
        ("N", None, slice(None)),
        ("N", "= 2.0", slice(3, 4)),
        ("N", "< -1.5", slice(0, 1)),
        ("N", "<= 0", slice(0, 3)),
        ("N", "> 2", slice(4, None)),
        ("N", ">= 1e1", slice(4, None)),
        ("N", "between -1.5 and 2", slice(1, 4)),
        ("B", None, slice(None)),
        ("B", f"= {B_00}", slice(0, 1)),
        ("B", f"< {B_7F}", slice(0, 2)),
        ("B", f"<= {B_7F}", slice(0, 3)),
        ("B", f"> {B_00}", slice(1, None)),
        ("B", f">= {B_7F}", slice(2, None)),
        ("B", f"between {B_00} {B_7F}", slice(0, 3)),
        ("B", f"begins_with {B_00}", slice(0, 2)),
    ],
)
def test_sort_key(sorted_tables: dict[KeyType, Table], kind: KeyType, condition: str | None, expected: slice) -> None:
    selected = [("p", value) for value in SORT_KEYS[kind][expected]]
    assert touched(sorted_tables[kind], partition_key="p", sort_key=condition) == selected


@pytest.mark.parametrize(
    ("kind", "values", "typed"),
    [
        ("S", ["x", "y"], "x"),
        ("N", [Decimal(BIG), Decimal("1.5")], "1.50"),
        ("B", [b"\x00\x01\xff", b"\x00\x01"], base64_text(b"\x00\x01")),
    ],
)
def test_partition_key(dynamodb_local: str, kind: KeyType, values: list[Value], typed: str) -> None:
    table = tables.create(dynamodb_local, ("pk", kind), items=[{"pk": value} for value in values])
    (selected,) = touched(table, partition_key=typed)
    assert selected == {"x": "x", "1.50": Decimal("1.5")}.get(typed, b"\x00\x01")


@pytest.fixture(scope="module")
def indexed(dynamodb_local: str) -> Table:
    """Items with keys in a global index that projects keys only, one that projects all or some, and a local one.

    Only the first seven of ten are in the indexes.
    """
    globally: tuple[tables.Attribute, tables.Attribute] = (("group", "S"), ("rank", "N"))
    return tables.create(
        dynamodb_local,
        ("pk", "S"),
        ("sk", "N"),
        indexes=[
            Index("keys_only", *globally),
            Index("whole", *globally, projection="ALL"),
            Index("include", *globally, projection="INCLUDE", included=("colour",)),
            Index("local", None, ("rank", "N")),
        ],
        items=[
            {
                "pk": f"p{n % 2}",
                "sk": n,
                "colour": "red" if n < 4 else "blue",
                **({"group": "a" if n < 5 else "b", "rank": 10 * n} if n < 7 else {}),
            }
            for n in range(10)
        ],
    )


@pytest.mark.parametrize("index", ["keys_only", "whole"])
@pytest.mark.parametrize(
    ("condition", "expected"),
    [(None, [0, 1, 2, 3, 4]), (">= 20", [2, 3, 4]), ("between 10 30", [1, 2, 3]), ("= 999", [])],
)
def test_global_index(indexed: Table, index: str, condition: str | None, expected: list[int]) -> None:
    assert numbers(touched(indexed, verify=True, index=index, partition_key="a", sort_key=condition)) == expected


def test_local_index(indexed: Table) -> None:
    assert numbers(touched(indexed, verify=True, index="local", partition_key="p0")) == [0, 2, 4, 6]
    assert numbers(touched(indexed, index="local", partition_key="p0", sort_key="< 40")) == [0, 2]


@pytest.mark.parametrize("index", ["keys_only", "whole"])
@pytest.mark.parametrize("segments", [None, 3])
def test_all_of_a_sparse_index(indexed: Table, index: str, segments: int | None) -> None:
    assert numbers(touched(indexed, index=index, all=True, segments=segments)) == list(range(7))


@pytest.mark.parametrize("segments", [None, 1, 4, 25])
def test_all_of_the_table(indexed: Table, segments: int | None) -> None:
    assert numbers(touched(indexed, all=True, segments=segments)) == list(range(10))


@pytest.mark.parametrize(
    "selection",
    [{"partition_key": "p0", "sort_key": "< 6"}, {"all": True}, {"index": "whole", "partition_key": "a"}],
    ids=str,
)
def test_filter_expression(indexed: Table, selection: dict[str, Any]) -> None:
    without = set(numbers(touched(indexed, **selection)))
    red = touched(
        indexed,
        **selection,
        filter_expression="#c = :c AND attribute_exists(colour)",
        expression_attribute_names='{"#c": "colour"}',
        expression_attribute_values='{":c": {"S": "red"}}',
    )
    assert numbers(red) == sorted(without & {0, 1, 2, 3})


def test_nothing_matches(indexed: Table) -> None:
    report = touch(indexed, partition_key="nobody")
    assert (report.selected, report.fired, report.seen, report.exit_code) == (0, 0, 0, 0)


# ── dates ────────────────────────────────────────────────────────────────────────────────────────────────

DAYS = ["2021-01-20", "2021-01-21", "2021-01-22", "2021-01-23", "2021-02-01", "2021-03-01"]


def by_date(endpoint_url: str, kind: KeyType, dates: list[str]) -> Table:
    """One item for each date, and one without."""
    items: list[Item] = [
        {"id": DAYS[position], "day": Decimal(text) if kind == "N" else text} for position, text in enumerate(dates)
    ]
    return tables.create(
        endpoint_url, ("id", "S"), indexes=[Index("by_day", ("day", kind))], items=[*items, {"id": "undated"}]
    )


@pytest.mark.parametrize(
    ("kind", "form", "given"),
    [
        ("S", "%Y-%m-%d", None),
        ("S", "%Y%m%d", None),
        ("S", "%Y/%m/%d", None),
        ("N", "%Y%m%d", None),
        ("S", "%d.%m.%Y", "%d.%m.%Y"),
        ("S", "day#%Y-%j", "day#%Y-%j"),
    ],
)
def test_days_of_an_index(dynamodb_local: str, kind: KeyType, form: str, given: str | None) -> None:
    written = [datetime.fromisoformat(day).strftime(form) for day in DAYS]
    table = by_date(dynamodb_local, kind, written)
    days: dict[str, Any] = {"index": "by_day", "date_format": given}
    assert touched(table, date="2021-01-21..2021-02-01", **days) == DAYS[1:5]
    assert touched(table, date="20210122..2021/01/22", **days) == DAYS[2:3]
    assert touched(table, date="2021-01", **days) == DAYS[:4]
    assert touched(table, date="1999-01-01..1999-01-02", **days) == []


@pytest.mark.parametrize(("kind", "form"), [("S", "%Y-%m"), ("S", "%Y%m"), ("N", "%Y%m")])
def test_months_of_an_index(dynamodb_local: str, kind: KeyType, form: str) -> None:
    table = by_date(dynamodb_local, kind, [datetime.fromisoformat(day).strftime(form) for day in DAYS])
    assert touched(table, index="by_day", date="2021-01..2021-02") == DAYS[:5]
    assert touched(table, index="by_day", date="2021-02") == DAYS[4:5]
    assert touched(table, index="by_day", date="2021-01-31..2021-02-01") == DAYS[:5]


def by_time(endpoint_url: str, kind: KeyType, times: list[Value]) -> Table:
    """Items of one customer, numbered in the order of their times; another customer has the same."""
    return tables.create(
        endpoint_url,
        ("id", "S"),
        indexes=[Index("by_time", ("customer", "S"), ("at", kind))],
        items=[
            {"id": f"{customer}{number}", "customer": customer, "at": at}
            for customer in "cd"
            for number, at in enumerate(times)
        ],
    )


@pytest.mark.parametrize(
    "times",
    [
        ["2021-01-21T23:59:59Z", "2021-01-22T00:00:00Z", "2021-01-22T23:59:59.999Z", "2021-01-23T00:00:00Z"],
        ["2021-01-21 23:59", "2021-01-22", "2021-01-22 23:59", "2021-01-23"],
        ["20210121T235959", "20210122", "20210122T235959", "20210123T000000"],
        ["2021/01/21", "2021/01/22", "2021/01/22#4711", "2021/01/23"],
    ],
    ids=lambda times: times[0],
)
def test_text_as_the_date_in_a_sort_key(dynamodb_local: str, times: list[Value]) -> None:
    table = by_time(dynamodb_local, "S", times)
    day: dict[str, Any] = {"index": "by_time", "partition_key": "c"}
    assert touched(table, date="2021-01-22", **day) == ["c1", "c2"]
    assert touched(table, date="2021-01-21..2021-01-22", **day) == ["c0", "c1", "c2"]
    assert touched(table, date="2021-01-23..2021-12-31", **day) == ["c3"]


@pytest.mark.parametrize(
    ("per_second", "day", "begins", "ends"),
    [
        (1, "2021-01-22", "2021-01-21T23:00", "2021-01-22T23:00"),
        (1, "2021-03-28", "2021-03-27T23:00", "2021-03-28T22:00"),  # 23 hours long
        (1_000, "2021-03-28", "2021-03-27T23:00", "2021-03-28T22:00"),
        (1_000, "2021-10-31", "2021-10-30T22:00", "2021-10-31T23:00"),  # 25 hours long
        (1_000_000, "2021-10-31", "2021-10-30T22:00", "2021-10-31T23:00"),
    ],
)
def test_epoch_numbers_as_the_date_in_a_sort_key(
    dynamodb_local: str, per_second: int, day: str, begins: str, ends: str
) -> None:
    begin, end = (
        int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * per_second for text in (begins, ends)
    )
    assert datetime.fromtimestamp(begin / per_second, ZoneInfo("Europe/Berlin")).isoformat()[:16] == f"{day}T00:00"
    table = by_time(dynamodb_local, "N", [begin - 1, begin, end - 1, end - Decimal("0.5"), end])
    selection: dict[str, Any] = {"index": "by_time", "partition_key": "c", "date": day}
    assert touched(table, tz="Europe/Berlin", **selection) == ["c1", "c2", "c3"]
    assert touched(table, **selection) == ["c2", "c3", "c4"]  # in UTC the day begins and ends later


def test_a_date_in_the_sort_key_of_the_table(dynamodb_local: str) -> None:
    table = tables.create(dynamodb_local, ("pk", "S"), ("day", "S"), items=[{"pk": "p", "day": day} for day in DAYS])
    assert touched(table, partition_key="p", date="2021-01-22..2021-02") == [("p", day) for day in DAYS[2:5]]


# ── key files ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def listed(dynamodb_local: str) -> Table:
    return tables.create(
        dynamodb_local,
        ("name", "S"),
        ("number", "N"),
        items=[{"name": name, "number": Decimal(number)} for name, number in LISTED],
    )


LISTED = [("a", "1"), ("b", "2.5"), ("c", BIG), ('d"e, f', "-3"), ("g\nh", "0"), ("ü", "4")]


def listed_keys(*positions: int) -> list[tuple[str, Decimal]]:
    return sorted((LISTED[position][0], Decimal(LISTED[position][1])) for position in positions)


def dynamodb_json(*positions: int) -> list[str]:
    return [json.dumps({"name": {"S": LISTED[p][0]}, "number": {"N": LISTED[p][1]}}) for p in positions]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n".join(dynamodb_json(0, 1, 2, 3, 4)), [0, 1, 2, 3, 4]),
        ("\n\n".join(["", *dynamodb_json(0, 5), ""]), [0, 5]),
        ('{"name": "a", "number": 1}\n{"number": 2.50, "name": "b", "colour": "red"}\n', [0, 1]),
        (f'{{"name": "c", "number": {BIG}}}\n', [2]),
        ('{"name": "a", "number": "1"}\n{"name": "\\u00fc", "number": 4e0}\n', [0, 5]),
        ('{"Keys": {"name": {"S": "a"}, "number": {"N": "1.0"}}}\n{"key": {"name": "b", "number": 2.5}}', [0, 1]),
        ("name,number\na,1\nb,2.5\n", [0, 1]),
        ('number,colour,name\n-3,red,"d""e, f"\n1,"a,b",a\n0,,"g\nh"\n', [0, 3, 4]),
        ("name,number\r\na,1\r\n\r\nü,4\r\n", [0, 5]),
        ("\ufeffname,number\r\na,1\r\n", [0]),
        ("\ufeff" + "\r\n".join(dynamodb_json(0, 1)) + "\r\n", [0, 1]),
        # The same item in other words, many times over: more than one batch of them.
        ("name,number\n" + "a,1\na,1.0\na,10e-1\nb,2.5\n" * 20, [0, 1]),
        ("name,number\n", []),
        ("", []),
    ],
    ids=[
        "dynamodb-json",
        "blank lines",
        "plain json",
        "big integer",
        "numbers as text",
        "wrapped",
        "csv",
        "csv with quotes and extra columns",
        "csv with CRLF",
        "csv with BOM",
        "json with BOM and CRLF",
        "duplicates",
        "header only",
        "empty",
    ],
)
def test_key_file(listed: Table, tmp_path: Path, text: str, expected: list[int]) -> None:
    file = tmp_path / "keys"
    file.write_bytes(text.encode())
    assert touched(listed, keys=str(file)) == listed_keys(*expected)


def test_keys_of_items_that_do_not_exist_are_gone(listed: Table, tmp_path: Path) -> None:
    file = tmp_path / "keys.csv"
    file.write_text("name,number\na,1\nnobody,1\n")
    report = touch(listed, keys=str(file))
    assert (report.selected, report.fired, report.gone, report.exit_code) == (2, 1, 1, 0)
    assert "Item" not in listed.dynamodb.get_item(
        TableName=listed.name, Key={"name": {"S": "nobody"}, "number": {"N": "1"}}
    )


def test_binary_keys_from_a_file(dynamodb_local: str, tmp_path: Path) -> None:
    table = tables.create(
        dynamodb_local, ("pk", "B"), ("sk", "B"), items=[{"pk": b"\x00\xff", "sk": bytes([n])} for n in range(4)]
    )
    file = tmp_path / "keys"
    pk = base64_text(b"\x00\xff")
    file.write_text(f'{{"pk":"{pk}","sk":"{base64_text(bytes([1]))}"}}\n{{"pk":{{"B":"{pk}"}},"sk":{{"B":"Aw=="}}}}')
    assert touched(table, keys=str(file)) == [(b"\x00\xff", b"\x01"), (b"\x00\xff", b"\x03")]


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ('{"name": "a", "number": 1}\n\n{"name": "b"}\n', 3, "'number' is missing"),
        ('{"name": "a", "number": 1}\n{"name": "b", "number": "two"}\n', 2, "'two' is not a number"),
        ('{"name": "a", "number": 1}\n{"name": {"N": "1"}, "number": 1}\n', 2, "'name' is not of type S"),
        ('{"name": "a", "number": 1}\n{"name": 7, "number": 1}\n', 2, "'name' is not of type S"),
        ('{"name": "a", "number": 1}\n{"name": "", "number": 1}\n', 2, "'name' cannot be empty"),
        ('{"name": "a", "number": 1}\nname,number\n', 2, "not a JSON object"),
        ('{"name": "a", "number": 1}\n["b", 2]\n', 2, "not a JSON object"),
        ("name,number\na,1\nb,2,3\n", 3, "3 columns, the header has 2"),
        ('name,number\na,1\n"g\nh",x\n', 4, "'x' is not a number"),
        ("name\na\n", 1, "the header lacks 'number'"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_written(
    listed: Table, tmp_path: Path, text: str, line: int, why: str
) -> None:
    before = len(listed.records())
    file = tmp_path / "keys"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        touch(listed, keys=str(file))
    assert caught.value.message.startswith(f"{file}, line {line}: ")
    assert why in caught.value.message
    assert len(listed.records()) == before


@pytest.mark.parametrize("content", [None, b"name,number\n\xff\xfe,1\n"], ids=["missing", "not UTF-8"])
def test_an_unreadable_key_file(listed: Table, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "keys"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=str(file)):
        touch(listed, keys=str(file))


@pytest.mark.parametrize("text", ["\r\n".join(dynamodb_json(1, 5, 1)), "number,name\r\n2.5,b\r\n4,ü\r\n"])
def test_keys_from_standard_input(listed: Table, text: str) -> None:
    run = tables.run_name()
    words = ("touch", listed.name, "--keys", "-", "--endpoint-url", listed.endpoint_url, "--run", run, "--execute")
    result = command.restrike(*words, "--json", stdin=text)
    assert result.code == 0, result
    assert result.json["selected"] == result.json["seen"] == 2
    assert listed.fired(run) == dict.fromkeys(listed_keys(1, 5), 1)


def test_keys_from_standard_input_that_are_bad(listed: Table) -> None:
    result = command.restrike(
        "touch",
        listed.name,
        "--keys",
        "-",
        "--endpoint-url",
        listed.endpoint_url,
        "--execute",
        stdin="name,number\na\n",
    )
    assert result.code == 2
    assert "standard input, line 2: 1 columns, the header has 2" in result.stderr


def test_what_another_run_left_over(dynamodb_local: str) -> None:
    """Items at the size limit cannot take the marker; when they have shrunk, a run takes what was left over."""
    table = tables.create(dynamodb_local, ("pk", "S"), ("sk", "N"))
    most = 400 * 1024 - len("pk") - len("p") - len("sk") - len("text") - 2  # a small number takes two bytes
    table.load({"pk": "p", "sk": n, "text": "x" * (most if n in (1, 3) else 1)} for n in range(5))
    first = touch(table, partition_key="p")
    assert (first.fired, first.failed, first.leftover, first.exit_code) == (3, 2, 2, 1)
    table.load({"pk": "p", "sk": n, "text": "small"} for n in (1, 3))
    assert numbers(touched(table, keys=f"run:{first.run}")) == [1, 3]


def test_what_a_run_on_another_table_left_over(indexed: Table, listed: Table) -> None:
    other = touch(indexed, partition_key="nobody")
    with pytest.raises(UsageError, match=rf"run {other.run} was on \S+{indexed.name}"):
        touch(listed, keys=f"run:{other.run}")
    with pytest.raises(UsageError, match="no run 'unheard-of'"):
        touch(listed, keys="run:unheard-of")


# ── a canary ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def many(dynamodb_local: str) -> Table:
    """60 items on three days."""
    return tables.create(
        dynamodb_local,
        ("pk", "S"),
        ("sk", "N"),
        indexes=[Index("by_day", ("day", "S"))],
        items=[{"pk": "p", "sk": n, "day": DAYS[n % 3]} for n in range(60)],
    )


@pytest.mark.parametrize(
    "selection",
    [
        {"partition_key": "p"},
        {"all": True, "segments": 3},
        {"index": "by_day", "all": True},
        {"index": "by_day", "date": f"{DAYS[0]}..{DAYS[2]}"},
        {"keys": "keys.csv"},
        {"partition_key": "p", "ordered": True},
    ],
    ids=str,
)
def test_a_limit_is_a_canary_of_the_same_run(
    many: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, selection: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("keys.csv").write_text("pk,sk\n" + "".join(f"p,{n}\n" for n in range(60)))
    run = tables.run_name()
    canary = touch(many, run=run, limit=7, **selection)
    assert (canary.state, canary.selected, canary.fired, canary.seen) == ("LIMITED", 7, 7, 7)
    assert many.fired(run).total() == 7

    longer = touch(many, run=run, limit=10, rate=1_000.0, **selection)
    assert (longer.state, longer.selected, longer.fired) == ("LIMITED", 10, 10)

    whole = touch(many, run=run, **selection)
    assert (whole.state, whole.selected, whole.fired, whole.already, whole.seen) == ("COMPLETED", 60, 60, 0, 60)
    assert many.fired(run) == {("p", Decimal(n)): 1 for n in range(60)}

    same = touch(many, run=run, **selection)
    assert (same.selected, same.fired, same.already, same.seen) == (60, 60, 0, 60)
    assert "nothing new" in same.notes[0]
    again = touch(many, run=run, again=True, **selection)
    assert (again.selected, again.fired, again.already) == (60, 0, 60)
    assert many.fired(run).total() == 60


def test_the_same_canary_again_fires_nothing(many: Table) -> None:
    run = tables.run_name()
    touch(many, run=run, partition_key="p", limit=5)
    same = touch(many, run=run, partition_key="p", limit=5)
    assert (same.state, same.selected, same.fired, same.already) == ("LIMITED", 5, 5, 0)
    assert "nothing new" in same.notes[0]
    again = touch(many, run=run, partition_key="p", limit=5, again=True)
    assert (again.state, again.selected, again.fired, again.already) == ("LIMITED", 5, 0, 5)
    assert many.fired(run).total() == 5


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────


def test_no_selection_names_the_ways_of_this_table(indexed: Table) -> None:
    with pytest.raises(UsageError) as caught:
        touch(indexed)
    assert caught.value.message == "nothing is selected"
    for index in ("keys_only", "whole", "include", "local"):
        assert f"--index {index} --partition-key VALUE" in caught.value.hint
        assert f"--index {index} --all" in caught.value.hint
    for way in ("--partition-key VALUE", '--sort-key "= VALUE"', "--keys FILE", "--date DAY or DAY..DAY", "  --all"):
        assert way in caught.value.hint


@pytest.mark.parametrize(
    ("selection", "why"),
    [
        ({"partition_key": "p0", "all": True}, "--all and --partition-key"),
        ({"partition_key": "p0", "keys": "f"}, "--keys and --partition-key"),
        ({"keys": "f", "all": True}, "--keys and --all"),
        ({"all": True, "index": "whole", "date": "2021-01-01..2021-01-02"}, "--all and --date"),
        ({"keys": "f", "date": "2021-01-01..2021-01-02"}, "--keys and --date"),
        ({"index": "whole"}, "nothing is selected"),
        ({"sort_key": "= 1"}, "nothing is selected"),
        ({"all": True, "sort_key": "= 1"}, "--sort-key goes with --partition-key"),
        ({"keys": "f", "index": "whole"}, "--keys names items"),
        ({"keys": "f", "filter_expression": "a = b"}, "--keys names items"),
        ({"partition_key": "p0", "segments": 3}, "--segments goes with --all"),
        ({"all": True, "segments": 0}, "--segments 0 is not between"),
        ({"index": "nothing", "all": True}, "no index 'nothing'"),
        ({"partition_key": "p0", "sort_key": "about 3"}, "is no condition"),
        ({"partition_key": "p0", "sort_key": "= three"}, "is not a number"),
        ({"partition_key": "p0", "sort_key": "begins_with 1"}, "begins_with does not work"),
        ({"partition_key": "p0", "sort_key": "between 1"}, "between takes two values"),
        ({"partition_key": ""}, "--partition-key is empty"),
        ({"date": "2021-01-01..2021-01-02"}, "needs the --index"),
        ({"index": "whole", "date": "2021-01-01.."}, "has one end only"),
        ({"index": "whole", "date": "2021-01-02..2021-01-01"}, "is before"),
        ({"index": "whole", "date": "yesterday..2021-01-01"}, "'yesterday' is not a date"),
        ({"index": "whole", "date": "2021-01-01..2021-01-02"}, "no date that is recognised"),
        (
            {"index": "whole", "date": "2021-01-01..2021-01-02", "date_format": "%H"},
            "holds no date",
        ),
        (
            {"partition_key": "p0", "date": "2021-01-01..2021-01-02", "sort_key": "= 1"},
            "two conditions on the same sort key",
        ),
        ({"partition_key": "p0", "date": "2021-01-01..2021-01-02", "tz": "Mars/Olympus"}, "is no time zone"),
        ({"all": True, "expression_attribute_values": '{":a": {"S": "x"}}'}, "go with --filter-expression"),
        (
            {"all": True, "filter_expression": "a = :a", "expression_attribute_values": '{":a": "x"}'},
            "--expression-attribute-values: ",
        ),
        ({"all": True, "limit": 0}, "--limit 0 is no number from 1 on"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_selection_that_is_none(indexed: Table, selection: dict[str, Any], why: str) -> None:
    before = len(indexed.records())
    with pytest.raises(UsageError, match=why) as caught:
        touch(indexed, **selection)
    assert caught.value.exit_code == 2
    assert len(indexed.records()) == before


# ── the article's own configuration ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("names", "name", "value", "expected"),
    [
        (("pk", "sk"), "pk", "p1", [1, 3]),
        (("pk", "sk"), "day", "2021-01-22", [2, 3]),
    ],
    ids=["table", "index"],
)
def test_the_environment_of_the_article(
    dynamodb_local: str, names: tuple[str, str], name: str, value: str, expected: list[int]
) -> None:
    table = tables.create(
        dynamodb_local,
        (names[0], "S"),
        (names[1], "N"),
        indexes=[Index("by_day", ("day", "S"))],
        items=[{"pk": f"p{n % 2}", "sk": n, "day": f"2021-01-{21 + n // 2}"} for n in range(4)],
    )
    run = tables.run_name()
    article = {"DynamoTable": table.name, "HashKeyName": name, "HashKeyValue": value}
    result = command.restrike(
        "touch", "--endpoint-url", table.endpoint_url, "--run", run, "--execute", "--json", **article
    )
    assert result.code == 0, result
    assert numbers(list(table.fired(run))) == expected


def test_a_flag_outdoes_the_environment_of_the_article(indexed: Table) -> None:
    article = {"DynamoTable": "another", "HashKeyName": "pk", "HashKeyValue": "p1"}
    run = tables.run_name()
    words = (
        "touch",
        indexed.name,
        "--partition-key",
        "p0",
        "--endpoint-url",
        indexed.endpoint_url,
        "--run",
        run,
        "--execute",
    )
    assert command.restrike(*words, **article).code == 0
    assert numbers(list(indexed.fired(run))) == [0, 2, 4, 6, 8]


def test_the_environment_of_the_article_names_no_key(indexed: Table) -> None:
    result = command.restrike(
        "touch", indexed.name, "--endpoint-url", indexed.endpoint_url, HashKeyName="colour", HashKeyValue="red"
    )
    assert result.code == 2
    assert "HashKeyName=colour is no partition key" in result.stderr


# ── names that have to be quoted ─────────────────────────────────────────────────────────────────────────

NAMES = ['a"b', "a.b", "select", "größe", "back\\slash", "two words", "a'b"]


@pytest.mark.parametrize(
    ("name", "api"),
    [*((name, "partiql") for name in NAMES), ('a"b', "update-item"), ("#hash", "update-item"), (":a", "update-item")],
)
def test_names(dynamodb_local: str, tmp_path: Path, name: str, api: str) -> None:
    """As partition key, sort key, keys of an index, in a filter, and as the marker."""
    partition, sort, group, rank = (f"{name}{suffix}" for suffix in ("", "2", "3", "4"))
    table = tables.create(
        dynamodb_local,
        (partition, "S"),
        (sort, "N"),
        indexes=[Index("grouped", (group, "S"), (rank, "N"))],
        items=[{partition: name, sort: n, group: f"g{n % 2}", rank: n, f"{name}5": n} for n in range(4)],
    )
    marker = f"{name}6"
    ways: list[tuple[dict[str, Any], list[int]]] = [
        ({"partition_key": name, "sort_key": "> 1"}, [2, 3]),
        ({"index": "grouped", "partition_key": "g0", "sort_key": "<= 2"}, [0, 2]),
        ({"all": True, "segments": 2}, [0, 1, 2, 3]),
        (
            {
                "partition_key": name,
                "filter_expression": "#n = :v",
                "expression_attribute_names": json.dumps({"#n": f"{name}5"}),
                "expression_attribute_values": '{":v": {"N": "3"}}',
            },
            [3],
        ),
    ]
    for number, (selection, expected) in enumerate(ways):
        # Under a marker of its own a run overwrites only what it is told to.
        over = ",".join(f"r{earlier}" for earlier in range(number)) or None
        write: dict[str, Any] = {"run": f"r{number}", "marker": marker, "over": over, "api": api}
        assert numbers(touched(table, verify=number == 0, **write, **selection)) == expected
    file = tmp_path / "keys"
    file.write_text(json.dumps({partition: name, sort: 1}))
    assert numbers(touched(table, marker=marker, over="r0,r1,r2,r3", api=api, keys=str(file))) == [1]


@pytest.mark.parametrize("name", ["#hash", ":colon"])
def test_a_key_name_that_partiql_refuses_is_a_failure_that_update_item_mends(dynamodb_local: str, name: str) -> None:
    """DynamoDB Local takes such a name in a PartiQL condition for a placeholder, however it is quoted."""
    table = tables.create(dynamodb_local, (name, "S"), items=[{name: "x"}])
    report = touch(table, partition_key="x")
    assert (report.fired, report.failed, report.exit_code) == (0, 1, 1)
    assert touched(table, keys=f"run:{report.run}", api="update-item") == ["x"]


def test_names_in_the_command_line_of_the_plan(dynamodb_local: str) -> None:
    """Quotes, spaces and dollars come through a shell."""
    value = """it's "$HOME" `x` \\ é"""
    table = tables.create(dynamodb_local, ("pk", "S"), items=[{"pk": value}, {"pk": "other"}])
    plan = restrike.touch(
        table.name, partition_key=value, marker="the 'mark'", run="r", endpoint_url=table.endpoint_url
    )
    assert command.shell(plan.data.command).code == 0
    assert table.fired("r", "the 'mark'") == {value: 1}
