"""The docs name the IAM actions that each verb takes: here are those that it really asks for, held against the page.

A verb is run to its end, and the end of a stream takes it three seconds.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import restrike
from tests.exported import change, export
from tests.integration.tables import Index, Table, create, run_name
from tests.servers import exports_stub
from tests.servers.lambda_api import KEY_ARN, mapping, stub_lambda
from tests.servers.oddities import answering
from tests.servers.wired import wired

DOCS = Path(__file__).parents[2] / "docs"
ACTIONS = {"BatchExecuteStatement": "PartiQLUpdate", "Invoke": "InvokeFunction"}
"""Operation → the action that allows it, where they are not called the same."""
SERVICES = {
    "Lambda": "lambda",
    "Pipes": "pipes",
    "OSIS": "osis",
    "ApplicationAutoScaling": "application-autoscaling",
    "CloudWatch": "cloudwatch",
}
UNSEEN = {"dynamodb:PartiQLSelect"}
"""Named as what is not needed."""
ELSEWHERE = ("s3:", "kms:")
"""What S3 and KMS ask for, no request of ours to this machine shows."""


class Asked(logging.Handler):
    """The actions behind the requests that are made meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.actions: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        fields = getattr(record, "fields", {})
        if fields.get("event") == "request":
            service = SERVICES.get(fields["service"], "dynamodb")
            self.actions.add(f"{service}:{ACTIONS.get(fields['operation'], fields['operation'])}")


@contextmanager
def asked() -> Iterator[Asked]:
    found, log = Asked(), logging.getLogger("restrike.aws")
    level = log.level
    log.addHandler(found)
    log.setLevel(logging.DEBUG)
    try:
        yield found
    finally:
        log.removeHandler(found)
        log.setLevel(level)


def check(page: str, found: Asked) -> None:
    """The page's section names each action that was asked for, and no other."""
    section = (DOCS / f"{page}.md").read_text(encoding="utf-8").partition("## Permissions\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z0-9-]+:[A-Z][a-z]\w+)`", section))
    assert found.actions <= named, f"docs/{page}.md lacks {found.actions - named}"
    idle = {action for action in named - found.actions - UNSEEN if not action.startswith(ELSEWHERE)}
    assert not idle, f"docs/{page}.md names {idle}, and nothing asks for it"


@pytest.fixture(scope="module")
def orders(dynamodb_local: str) -> Table:
    return create(
        dynamodb_local,
        ("pk", "S"),
        ("sk", "N"),
        indexes=[Index("by_day", ("day", "S"))],
        wcu=400,  # provisioned, so that its autoscaling is asked for
        items=[{"pk": f"p{n % 2}", "sk": n, "day": "2021-01-22"} for n in range(6)],
    )


@pytest.fixture(autouse=True)
def at(orders: Table, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The table's DynamoDB, and a Lambda with a mapping whose filter has to be asked for by itself."""
    with stub_lambda(mapping("orders", {"eventName": ["INSERT"]}, KMSKeyArn=KEY_ARN)) as stub:
        monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", orders.endpoint_url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", stub.url)
        yield


def test_a_touch(orders: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = {"Name": "one", "CurrentState": "RUNNING", "Source": orders.stream_arn}
    pipeline = {"PipelineName": "one", "Status": "ACTIVE", "PipelineConfigurationBody": ""}
    keys = tmp_path / "keys.jsonl"
    keys.write_text('{"pk": {"S": "p0"}, "sk": {"N": "0"}}\n')
    ledger, name = str(tmp_path / "ledger.db"), run_name()
    with (
        asked() as found,
        wired(pipes=[pipe], pipelines=[pipeline]) as stub,
        answering(b'{"ScalableTargets":[]}', content_type="application/x-amz-json-1.1") as autoscaling,
    ):
        monkeypatch.setenv("AWS_ENDPOINT_URL_APPLICATION_AUTO_SCALING", autoscaling)
        monkeypatch.setenv("AWS_ENDPOINT_URL_PIPES", stub.url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_OSIS", stub.url)
        restrike.touch(orders.name, all=True, run=name, verify=True, ledger=ledger).execute()
        quick: dict[str, Any] = {"ledger": ledger, "verify": False}
        restrike.touch(orders.name, index="by_day", date="2021-01-22", api="update-item", **quick).execute()
        restrike.touch(orders.name, keys=str(keys), **quick).execute()
        restrike.unmark(orders.name, run=name, **quick).execute()
    check("touch", found)


def test_a_replay(orders: Table, tmp_path: Path) -> None:
    ledger = str(tmp_path / "ledger.db")
    export([[change({"pk": {"S": "p0"}}, new={})]]).write(tmp_path / "exports")
    with asked() as found, exports_stub.running() as exports:
        restrike.replay(
            f"export:{tmp_path / 'exports'}", f"jsonl:{tmp_path / 'sent.jsonl'}", endpoint_url=exports.endpoint_url
        )
        restrike.replay(f"stream:{orders.name}", "lambda:orders", run="r", ledger=ledger, limit=1).execute()
        restrike.resume("r", ledger=ledger)
        for selection in ({"all": True}, {"partition_key": "p0"}):
            restrike.replay(
                f"table:{orders.name}", "lambda:orders", ledger=ledger, if_superseded="skip", limit=1, **selection
            ).execute()
    check("replay", found)


def test_an_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restrike.exporting.execute.POLL_S", 0.01)
    with asked() as found, exports_stub.running() as exports, answering(b"{}", status=403) as denied:
        exports.earliest_s = exports.latest_s - 86_400
        monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDWATCH", denied)
        restrike.export(
            "orders",
            "s3://exports/orders",
            since="1h",
            ledger=str(tmp_path / "ledger.db"),
            endpoint_url=exports.endpoint_url,
        ).execute()
    check("export", found)


def test_a_capture(orders: Table, tmp_path: Path) -> None:
    with asked() as found:
        restrike.capture(orders.name, str(tmp_path / "kept"), ledger=str(tmp_path / "ledger.db")).execute()
    check("capture", found)
