"""The other side's file: every row is read, or told with its line; a place is a place, and belongs to its file."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from restrike.auditing import rows as module
from restrike.auditing.partitions import Batches
from restrike.auditing.rows import FilePlace, Names, RowFile, Unreadable
from restrike.errors import SourceLacks, UsageError
from restrike.model.scalars import encoded, of_cell
from restrike.model.table import KeyAttribute, KeySchema

KEY = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sk", "N"))
NAMES = Names(KEY, ("total",))


def read(path: Path, text: str | bytes, names: Names = NAMES) -> tuple[list[tuple[Any, Any]], list[Unreadable]]:
    """Keys as JSON with the texts of their values, and what could not be read."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    found, bad = [], []
    with RowFile(path, names) as file:
        for chunk in file.chunks():
            found += [(json.loads(key), json.loads(values.partition(b"\t")[2])) for key, values in chunk.rows]
            bad += chunk.unreadable
    return found, bad


def key(pk: str, sk: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"N": sk}}


TWO = [(key("a", "1"), ["5"]), (key("b", "2"), ["6.0"])]


@pytest.mark.parametrize(
    "text",
    [
        "pk,sk,total\na,1,5\nb,2,6.0\n",
        "\ufeffpk,sk,total\r\na,1,5\r\nb,2,6.0\r\n",
        "\n\n total , sk ,pk,other\n5,01,a,x\n\n6.0,2.0,b,y",
        '"pk","sk","total"\n"a","1","5"\n"b","2","6.0"\n',
    ],
)
def test_a_csv(text: str, tmp_path: Path) -> None:
    assert read(tmp_path / "c.csv", text) == (TWO, [])


@pytest.mark.parametrize(
    "text",
    [
        '{"pk":"a","sk":1,"total":5}\n{"pk":"b","sk":2,"total":6.0}\n',
        '\ufeff{"pk":"a","sk":1,"total":5}\r\n\r\n{"pk":"b","sk":"2","total":"6.0"}',
        '{"pk":{"S":"a"},"sk":{"N":"1"},"total":{"N":"5"}}\n{"Keys":{"pk":"b","sk":2},"total":"6.0"}\n',
        '{"Item":{"pk":{"S":"a"},"sk":{"N":"1.0"},"total":{"N":"5"}}}\n{"key":{"pk":"b","sk":2},"total":"6.0"}\n',
    ],
)
def test_json_lines(text: str, tmp_path: Path) -> None:
    assert read(tmp_path / "c.jsonl", text) == (TWO, [])


def test_quotes_may_hold_commas_quotes_and_newlines(tmp_path: Path) -> None:
    found, bad = read(tmp_path / "c.csv", 'pk,sk,total\n"a,""b""\r\nc",1,"1\n2"\nd,2,3\nx\n')
    assert found == [(key('a,"b"\r\nc', "1"), ["1\n2"]), (key("d", "2"), ["3"])]
    assert bad == [Unreadable(6, "1 column, the header has 3")]


def test_other_names(tmp_path: Path) -> None:
    names = Names(KEY, ("total",), {"pk": "customer", "total": "amount"})
    assert read(tmp_path / "c.csv", "customer,sk,amount\na,1,5\nb,2,6.0\n", names) == (TWO, [])
    assert read(tmp_path / "c.jsonl", '{"customer":"a","sk":1,"amount":5}\n', names) == (TWO[:1], [])


@pytest.mark.parametrize(
    ("kind", "cell", "canonical"),
    [("S", "a\tb", "a\tb"), ("N", "-1.50", "-1.5"), ("N", "1e3", "1000"), ("B", "AAEC", "AAEC")],
)
def test_keys_of_each_type(kind: Any, cell: str, canonical: str, tmp_path: Path) -> None:
    names = Names(KeySchema(KeyAttribute("k", kind)))
    expected: Any = [({"k": {kind: canonical}}, [])]
    assert read(tmp_path / "c.csv", f"k\n{cell}\n", names) == (expected, [])
    assert read(tmp_path / "c.jsonl", json.dumps({"k": cell}), names) == (expected, [])
    assert read(tmp_path / "c.jsonl", json.dumps({"k": {kind: cell}}), names) == (expected, [])


def test_rows_that_cannot_be_read_have_their_line_and_if_it_can_be_their_key(tmp_path: Path) -> None:
    wrong = [
        ("{", None),
        ("[]", None),
        ('"x"', None),
        ('{"sk":1}', None),
        ('{"pk":"a"}', None),
        ('{"pk":1,"sk":1}', None),
        ('{"pk":"","sk":1}', None),
        ('{"pk":"a","sk":"x"}', None),
        ('{"pk":"a","sk":true}', None),
        ('{"pk":{"N":"1"},"sk":1}', None),
        ('{"pk":"a","sk":1e999}', None),
        ('{"pk":"\\ud800","sk":1}', None),
        ("[" * 100_000, None),
        ('{"pk":"a","sk":1,"total":[1]}', b'{"pk":{"S":"a"},"sk":{"N":"1"}}'),
        ('{"pk":"a","sk":1,"total":{"N":"secret"}}', b'{"pk":{"S":"a"},"sk":{"N":"1"}}'),
    ]
    text = "".join(f'{line}\n{{"pk":"ok","sk":{number}}}\n' for number, (line, _) in enumerate(wrong))
    found, bad = read(tmp_path / "c.jsonl", '{"pk":"ok","sk":99}\n' + text)
    assert len(found) == len(wrong) + 1
    assert [(each.line, each.key) for each in bad] == [(2 + 2 * at, known) for at, (_, known) in enumerate(wrong)]
    assert not any("secret" in each.why for each in bad)


def test_text_that_is_no_utf_8_is_one_rows_fault(tmp_path: Path) -> None:
    found, bad = read(tmp_path / "c.csv", b"pk,sk,total\na,1,5\n\xff,2,1\nb,2,6.0\nc,3,\xff\n")
    assert found == TWO
    assert bad == [Unreadable(3, "no UTF-8"), Unreadable(5, "no UTF-8", b'{"pk":{"S":"c"},"sk":{"N":"3"}}')]
    assert read(tmp_path / "c.jsonl", b'{"pk":"a","sk":1,"total":5}\n{"pk":"\xff","sk":1}\n')[0] == TWO[:1]


def test_a_quote_that_does_not_end_costs_what_it_swallows(tmp_path: Path) -> None:
    found, bad = read(tmp_path / "c.csv", 'pk,sk,total\na,1,5\n"b"x,1,1\nb,2,6.0\nc,"3,4\nd,5,6\n')
    assert found == TWO
    assert [each.line for each in bad] == [3, 5]


def test_a_line_without_end_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_BYTES", 64)
    long = '{"pk":"a","sk":1,"x":"' + "x" * 200 + '"}'
    text = f'{{"pk":"a","sk":1,"total":5}}\n{long}\n{{"pk":"b","sk":2,"total":"6.0"}}\n'
    found, bad = read(tmp_path / "c.jsonl", text)
    assert found == TWO
    assert bad == [Unreadable(2, "longer than a row may be")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pk,sk\na,1\n", "the header lacks 'total'"),
        ("a,b\n", "the header lacks 'pk' and 'sk' and 'total'"),
        ("pk,sk,total,pk\n", "the header has 'pk' twice"),
        ('[{"pk":"a"}]', "is one JSON array"),
        (b"\xff\xfep\x00k\x00", "line 1: neither a CSV's header nor JSON"),
    ],
)
def test_what_no_row_can_be_of_is_refused(text: str | bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=says):
        read(tmp_path / "c", text)


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path / "c", "") == ([], [])
    assert read(tmp_path / "c", "\n\r\n") == ([], [])
    assert read(tmp_path / "c", "pk,sk,total\n") == ([], [])


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_behind_each_place_come_the_rows_that_were_not_read(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS", 3)
    path = tmp_path / "c"
    lines = [f'"a\n{number}",{number},5' for number in range(10)]
    if form == "jsonl":
        lines = [f'{{"pk":"a\\n{number}","sk":{number},"total":5}}' for number in range(10)]
    path.write_text("\n".join((["pk,sk,total"] if form == "csv" else []) + lines), newline="")
    with RowFile(path, NAMES) as file:
        whole = [(chunk, file.place(chunk)) for chunk in file.chunks()]
    assert [len(chunk.rows) for chunk, _ in whole] == [3, 3, 3, 1]
    for at, (_, place) in enumerate(whole):
        with RowFile(path, NAMES) as file:
            assert list(file.chunks(place)) == [chunk for chunk, _ in whole[at + 1 :]]
    path.write_text(path.read_text().replace("5", "6", 1))
    with RowFile(path, NAMES) as file, pytest.raises(SourceLacks, match="is another file"):
        list(file.chunks(whole[1][1]))
    with RowFile(path, NAMES) as file:
        assert len(list(file.chunks(FilePlace()))) == 4


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    for path, says in ((tmp_path, "read twice"), (tmp_path / "none", "No such file")):
        with pytest.raises(UsageError, match=says), RowFile(path, NAMES):
            pass


def test_batches_give_back_each_row_in_order_in_its_part(tmp_path: Path) -> None:
    batches = Batches(tmp_path, "ours", 16)
    rows = [(b'{"k":{"B":"%b"}}' % base64.b64encode(bytes([n % 50])), encoded([of_cell(f"{n}\n")])) for n in range(500)]
    batches.write()
    assert batches.count == 0, "nothing was held"
    for first in range(0, 500, 100):
        batches.add(rows[first : first + 100])
        batches.write()
    again = Batches(tmp_path, "ours", 16, batches.count)
    found = [again.read(part) for part in range(16)]
    assert sorted(line for part in found for line in part) == sorted(key + b"\t" + values for key, values in rows)
    places = {key: part for part, lines in enumerate(found) for key in {line.split(b"\t")[0] for line in lines}}
    for each, part in places.items():
        assert [line for line in found[part] if line.startswith(each)] == [
            key + b"\t" + values for key, values in rows if key == each
        ]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
