"""Whatever is refused is refused in one way: a message, what to do next, the right exit code, and nothing done.

In this process, since nothing depends on another one; a few that are about the process itself stand in
`test_cli_streams`.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import restrike
from restrike.cli.main import VERBS, run
from restrike.cli.options import FlagOption, VerbCommand
from restrike.local import demo
from tests import exported
from tests.acceptance.bad_invocations import INVOCATIONS, Bad
from tests.failure_messages import message
from tests.integration import tables
from tests.unit.test_cli_options import ALL

MEANT_AS_HELP = ("Try 'restrike", "Usage: restrike")
"""What click says where to look."""
SHARED = (".db-shm", ".db-wal")
"""SQLite's, which readers of a ledger share; they are made and go as it likes."""


def record(number: int) -> str:
    return json.dumps(
        {
            "eventID": f"{number}",
            "eventName": "INSERT",
            "eventSourceARN": "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/2021-01-22T00:00:00.000",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_700_000_000 + number,
                "Keys": {"customer_id": {"S": "c"}, "order_id": {"S": f"{number}"}},
                "NewImage": {"customer_id": {"S": "c"}, "order_id": {"S": f"{number}"}, "total": {"N": "5"}},
                "SequenceNumber": f"{number:021d}",
                "SizeBytes": 10,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
        }
    )


STREAM = "arn:aws:dynamodb:us-east-1:000000000000:table/orders/stream/2021-01-22T00:00:00.000"
FILES = {
    "records.jsonl": "".join(f"{record(number)}\n" for number in range(1, 4)),
    "given-up.jsonl": json.dumps(
        message([json.loads(record(1))], shard="shardId-1", stream_arn=STREAM, payload=True),
    ),
    "broken.jsonl": '{"customer_id": {"S": "c"\n',
    "text.txt": "Dear Sir or Madam,\nplease find enclosed\n" * 10,
    "full.jsonl": "{}\n",
    "keys.jsonl": '{"customer_id": "customer-080", "order_id": "2021-01-22-140"}\n',
    "bad-keys.jsonl": '{"customer_id": "c", "order_id": "1"}\n{"customer_id": "c"}\n',
    "short.csv": "customer_id\nc\n",
    "pattern.json": '{"eventName": ["INSERT"]}',
    "app.py": "def main(event, context):\n    pass\n",
    "broken.py": "def main(event, context:\n",
}


@pytest.fixture(scope="module")
def ground(dynamodb_local: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What the invocations stand on; see `bad_invocations`."""
    folder = tmp_path_factory.mktemp("ground")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    (folder / "folder").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with demo.nobodys_environment():
            assert asyncio.run(demo.open_shop(dynamodb_local))
            client = tables.client("dynamodb", dynamodb_local)
            types = {"plain": (("pk", "S"), None), "numbers": (("pk", "N"), ("sk", "B"))}
            for name, (partition, sort) in types.items():
                keys = [each for each in (partition, sort) if each is not None]
                client.create_table(
                    TableName=name,
                    BillingMode="PAY_PER_REQUEST",
                    KeySchema=[
                        {"AttributeName": key, "KeyType": kind}
                        for (key, _), kind in zip(keys, ("HASH", "RANGE"), strict=False)
                    ],
                    AttributeDefinitions=[{"AttributeName": key, "AttributeType": of} for key, of in keys],
                    **(
                        {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}}
                        if name == "numbers"
                        else {}
                    ),
                )
            where: Any = {"region": "us-east-1", "endpoint_url": dynamodb_local, "ledger": str(folder / "ledger.db")}
            done = restrike.touch("orders", partition_key="customer-080", run="done", **where).execute()
            assert done.state == "COMPLETED"
            source = f"jsonl:{folder / 'full.jsonl'}"
            (folder / "full.jsonl").write_text(record(9) + "\n")
            sent = restrike.replay(source, f"jsonl:{folder / 'out.jsonl'}", run="sent", **where).execute()
            assert sent.state == "COMPLETED"
            exported.export([[exported.change({"pk": {"S": "a"}}, new={})]]).write(folder / "exported")
            exported.Tree({"AWSDynamoDB/01700000000009-00000000/_started": b""}).write(folder / "exported")
            assert restrike.capture("orders", str(folder / "kept"), **where).execute().records
        yield folder


@pytest.fixture
def standing(ground: Path, dynamodb_local: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(ground)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb_local)
    monkeypatch.setenv("RESTRIKE_LEDGER", str(ground / "ledger.db"))
    return ground


def standing_there(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder, with size and time of change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if not path.name.endswith(SHARED) and "__pycache__" not in path.parts:
            told = path.stat()
            found[str(path.relative_to(folder))] = (0, 0) if path.is_dir() else (told.st_size, told.st_mtime_ns)
    return found


def records_on_the_stream(dynamodb_local: str) -> int:
    return len(tables.Table(dynamodb_local, "orders", ("customer_id", "order_id")).records())


def test_there_are_enough_of_them() -> None:
    assert len(set(map(str, INVOCATIONS))) == len(INVOCATIONS) >= 300
    assert {bad.verb for bad in INVOCATIONS} >= {"touch", "replay", "records", "capture", "archive", "runs"}


@pytest.mark.parametrize("bad", INVOCATIONS, ids=str)
def test_it_is_refused(bad: Bad, standing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = standing_there(standing)
    words = shlex.split(f"{bad.verb} {bad.words}")
    code = run(words)
    said = capsys.readouterr()
    assert (code, said.out) == (bad.code, ""), said.err
    assert bad.says in said.err
    assert "This is a bug" not in said.err
    assert "Traceback" not in said.err
    hinted = any(line.startswith("  ") and line.strip() for line in said.err.splitlines())
    assert hinted or any(words in said.err for words in MEANT_AS_HELP), f"no hint: {said.err}"
    assert standing_there(standing) == before
    assert standing_there(tmp_path) == {}, "the state folder"


def test_none_of_them_wrote_to_the_table(standing: Path, dynamodb_local: str) -> None:
    (touched,) = {2000 + run["fired"] for run in [json.loads(line) for line in _runs()] if run["run"] == "done"}
    assert records_on_the_stream(dynamodb_local) == touched


def _runs() -> list[str]:
    from click.testing import CliRunner

    from restrike.cli.main import cli

    answer = CliRunner().invoke(cli, ["runs", "list", "--json"])
    return [json.dumps(each) for each in json.loads(answer.stdout)["runs"]]


# ── what holds for every flag of every verb ──────────────────────────────────────────────────────────────


def of_kind(*kinds: str) -> list[tuple[str, str]]:
    return [
        (name, param.flag.name)
        for name, command in ALL.items()
        for param in command.params
        if isinstance(param, FlagOption) and param.flag.kind in kinds
    ]


def arguments(name: str) -> list[str]:
    """A word for each argument that the verb must have."""
    command: VerbCommand = ALL[name]
    return ["bash" if name == "completion" else "x" for param in command.params if param.param_type_name == "argument"]


@pytest.mark.parametrize(("verb", "flag"), of_kind("text"))
def test_an_empty_text_is_refused(verb: str, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*verb.split(), *arguments(verb), flag, ""]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{flag} is empty. Is the variable that it comes from set?" in said.err


@pytest.mark.parametrize(("verb", "flag"), of_kind("number", "rate", "integer"))
@pytest.mark.parametrize("value", ["nan", "x", "1e999"])
def test_what_is_no_number_is_refused(verb: str, flag: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*verb.split(), *arguments(verb), flag, value]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert f"Invalid value for '{flag}': {value!r} is not a" in said.err


def test_every_verb_is_among_them() -> None:
    known = {bad.verb for bad in INVOCATIONS} | {bad.words.split()[0] for bad in INVOCATIONS if not bad.verb}
    assert set(VERBS) <= known
