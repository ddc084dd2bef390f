from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from restrike.errors import UsageError
from restrike.model.table import Key, KeyAttribute, KeySchema
from restrike.selecting.keyfile import KEYS_PER_READ, KeyFile, read_keys, sort_bytes, spool

SCHEMA = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sk", "N"))


def key(partition: str, sort: object) -> Key:
    return {"pk": {"S": partition}, "sk": {"N": str(sort)}}


def read(text: str) -> list[Key]:
    return list(read_keys(io.StringIO(text, newline=""), SCHEMA, "f"))


def test_keys_are_spooled_once_each(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    keys = [key("a", "1"), key("b", "1"), key("a", "1.0"), key("a", "2")]
    spooled = spool(path, SCHEMA, iter(keys), "f", in_order=False)
    assert spooled.count == 3
    with KeyFile(path, new=True) as file:
        assert [json.loads(each) for each in file] == [key("a", 1), key("b", 1), key("a", 2)]
        assert (file.digest(), file.digest_in_order()) == (spooled.digest, spooled.in_order)


def test_the_digest_is_that_of_the_set(tmp_path: Path) -> None:
    one = spool(tmp_path / "1", SCHEMA, iter([key("a", 1), key("b", 2)]), "f", in_order=False)
    other = spool(tmp_path / "2", SCHEMA, iter([key("b", "2.0"), key("a", 1), key("b", 2)]), "f", in_order=True)
    turned = spool(tmp_path / "3", SCHEMA, iter([key("b", 2), key("a", 1)]), "f", in_order=False)
    another = spool(tmp_path / "4", SCHEMA, iter([key("b", 2), key("a", 3)]), "f", in_order=False)
    assert one == other
    assert (one.digest, one.in_order != turned.in_order) == (turned.digest, True)
    assert one.digest != another.digest


def test_in_order_is_by_partition_and_then_by_sort_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    keys = [key(partition, sort) for sort in (10, 9, -1, "0.5") for partition in ("b", "a", "a\0", "ab")]
    spool(path, SCHEMA, iter(keys), "f", in_order=True)
    with KeyFile(path, new=True) as file:
        found = [(each["pk"]["S"], each["sk"]["N"]) for each in map(json.loads, file)]
    assert found == [(p, s) for p in ("a", "a\0", "ab", "b") for s in ("-1", "0.5", "9", "10")]


def test_more_than_one_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    number = 2 * KEYS_PER_READ + 1
    assert spool(path, SCHEMA, (key("p", n) for n in range(number)), "f", in_order=False).count == number
    with KeyFile(path, new=True) as file:
        assert [int(json.loads(each)["sk"]["N"]) for each in file] == list(range(number))
        assert [position for position, _ in file.read(after=3, limit=2)] == [4, 5]
        assert len(file) == number


def test_a_table_without_a_sort_key() -> None:
    schema = KeySchema(KeyAttribute("pk", "S"))
    assert sort_bytes(schema, {"pk": {"S": "a"}}) < sort_bytes(schema, {"pk": {"S": "a\0"}})


@pytest.mark.parametrize(
    "text",
    [
        '{"pk":"a","sk":1}\n{"pk":"a","sk":2}',
        '\ufeff\r\n\r\n{"pk":"a","sk":1}\r\n \r\n{"pk":"a","sk":2}\r\n',
        '  {"pk":"a","sk":1}\n\t{"pk":"a","sk":2}',
        '{"key":{"pk":{"S":"a"},"sk":{"N":"1"}},"code":"NotSeen","message":"m"}\n{"Key":{"pk":"a","sk":2}}',
        '{"eventName":"MODIFY","Keys":{"pk":{"S":"a"},"sk":{"N":"1"}}}\n{"Keys":{"pk":{"S":"a"},"sk":{"N":"2"}}}',
        "pk,sk\na,1\na,2",
        "\n\nsk, pk ,x\n1,a,\n2,a,\n",
        '"pk","sk"\r\n"a","1"\r\n\r\n"a","2"\r\n',
    ],
)
def test_files_that_say_the_same(text: str) -> None:
    assert read(text) == [key("a", 1), key("a", 2)]


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff", "pk,sk", "pk,sk\n\n"])
def test_files_without_keys(text: str) -> None:
    assert read(text) == []


def test_numbers_keep_all_their_digits() -> None:
    digits = "12345678901234567890123456789012345678"
    for text in (f'{{"pk":"a","sk":{digits}}}', f'{{"pk":"a","sk":"{digits}"}}', f"pk,sk\na,{digits}"):
        assert read(text) == [key("a", digits)]
    assert read('{"pk":"a","sk":0.1234567890123456789012345}') == [key("a", "0.1234567890123456789012345")]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('\n\n{"pk":"a"}', 3),
        ('{"pk":"a","sk":1}\n\n{"pk":"a","sk":1', 3),
        ('{"pk":"a","sk":1}\n[]', 2),
        ('{"pk":"a","sk":1}\nnull', 2),
        ('{"pk":"a","sk":1} {"pk":"a","sk":2}', 1),
        ("pk,sk\na", 2),
        ("\npk,sk\na,1\n\na,x", 5),
        ('pk,sk\n"a\nb",1\n"c\nd",', 5),
        ("pk;sk\na;1", 1),
        ('pk,sk\n"a"b,1', 2),
    ],
)
def test_the_line_that_is_bad(text: str, line: int) -> None:
    with pytest.raises(UsageError, match=f"^f, line {line}: ") as caught:
        read(text)
    assert caught.value.hint
