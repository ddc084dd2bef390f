"""What every test stands on: an environment without the developer's AWS settings, and a real DynamoDB Local."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing.util
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest
from hypothesis import HealthCheck, settings

from restrike.local.dynamodb_local import LocalServer, start_owned
from tests.integration import tables
from tests.servers import class_archive
from tests.servers.class_archive import WHERE_THE_ENGINE_LIES

# The same examples each time, and no limits on the clock: a busy machine is no failure.
settings.register_profile(
    "restrike",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("restrike")

OURS = ("AWS_", "RESTRIKE_", "DYNAMOTABLE", "HASHKEY")
MOST_RECORDS = 3000
"""That a DynamoDB Local may have had, and is still quick: it looks through all of them for each write to a younger
stream, which takes 6 ms where there are 18,000, and 0.3 ms where there are none. How many streams it had is all the
same to it."""
OF_ONE_TEST = re.compile(r"-[0-9a-f]{6,12}$")
"""The end of a random name."""

# A shell that starts the tests in the background has SIGINT ignored, and every process that they start would inherit
# that: Ctrl-C is what many of them are about.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class_archive.use()

# Where a fork server has its socket: now, before a test names a folder for temporary files whose path is too long.
multiprocessing.util.get_temp_dir()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the tests that have a long version, and that one")
    parser.addoption("--redraw", action="store_true", help="write the pictures in tests/data as they are drawn now")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--soak"):
        short = [item for item in items if item.get_closest_marker("soak") is None]
        config.hook.pytest_deselected(items=short)
        items[:] = [item for item in items if item not in short]


def pytest_collection_finish() -> None:
    # Thousands of tests and their modules stay: without this, a seventh of the time goes into looking at them anew.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)


def pytest_unconfigure() -> None:
    gc.unfreeze()


@pytest.fixture(scope="session")
def kills(pytestconfig: pytest.Config) -> int:
    """How often a test of kills kills; such a test has the mark `soak`."""
    return 50 if pytestconfig.getoption("--soak") else 5


@pytest.fixture(autouse=True)
def isolated_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the developer's credentials, settings or running servers, and none leaves state behind."""
    for name in list(os.environ):
        # Kept, as the cache folder is: a test must not fetch what the machine has.
        if name.upper().startswith(OURS) and name != WHERE_THE_ENGINE_LIES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "no-aws-credentials"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


class Engines:
    """One DynamoDB Local after another: a start costs as much as a thousand calls, and every record that a server has
    ever had, also of tables that are gone, makes it slower."""

    def __init__(self) -> None:
        self._held = contextlib.ExitStack()
        self._server: LocalServer | None = None

    def take(self) -> str:
        if self._server is None:
            self._server = self._held.enter_context(start_owned())
        return self._server.endpoint_url

    def give_back(self) -> None:
        if self._server is not None and not self._is_as_new(self._server.endpoint_url):
            self.end()

    def end(self) -> None:
        self._held.close()
        self._server = None

    def _is_as_new(self, url: str) -> bool:
        """Whether no test can meet there what another left: each table had a name that no other has."""
        of_tables = tables.client("dynamodb", url)
        try:
            streams = tables.streams(url)
            names = [*(each["TableName"] for each in streams), *of_tables.list_tables()["TableNames"]]
            quick = not streams or self._records_before(url, streams) <= MOST_RECORDS
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
            return False
        return quick and all(OF_ONE_TEST.search(name) for name in names)

    def _records_before(self, url: str, streams: list[dict[str, Any]]) -> int:
        """How many records the engine had when its youngest stream began: it numbers all of them in one row."""
        arn = max(streams, key=lambda each: str(each["StreamLabel"]))["StreamArn"]
        youngest = tables.client("dynamodbstreams", url).describe_stream(StreamArn=arn)["StreamDescription"]
        return int(youngest["Shards"][0]["SequenceNumberRange"]["StartingSequenceNumber"])


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    made = Engines()
    yield made
    made.end()


@pytest.fixture(scope="module")
def dynamodb_local(engines: Engines) -> Iterator[str]:
    """The endpoint of a DynamoDB Local; tests keep apart by the names of their tables.

    Where it cannot be had the test fails: without the real engine nothing here would be proved.
    """
    yield engines.take()
    engines.give_back()
