"""What a folder of the local disk says when it cannot be read: nothing of networks and endpoints."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from restrike.aws.session import Aws
from restrike.aws.settings import AwsSettings
from restrike.errors import BadCredentials, Unreachable, UsageError
from restrike.stores import open_store
from restrike.stores.folder import LocalFolder


def test_a_bucket_that_refuses_the_time_of_a_request_says_that_the_clock_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    bucket = open_store("s3://b", Aws)
    refused = bucket._problem(Exception("403 Forbidden: <Code>RequestTimeTooSkewed</Code>"), "cannot list s3://b")
    assert isinstance(refused, BadCredentials)
    assert "clock" in refused.hint


def test_a_bucket_that_does_not_answer_is_told_by_the_host_that_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """There were two: of the service, and of the bucket."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(Unreachable) as caught:
        open_store("s3://good-bucket", lambda: Aws(AwsSettings(region="eu-west-1")))
    hosts = set(re.findall(r"https://([^/\s:\"]+)", caught.value.message))
    assert hosts == {"good-bucket.s3.eu-west-1.amazonaws.com"}


def test_a_bucket_of_an_account_is_not_asked_for_a_table_on_this_machine() -> None:
    """Neither when reading nor when writing."""
    with pytest.raises(UsageError, match="s3://b is in an AWS account, which is neither read nor written"):
        open_store("s3://b", lambda: Aws(AwsSettings(endpoint_url="http://127.0.0.1:1")))


@pytest.mark.parametrize("uri", ["s3:///x", "s3:////x", "s3://"])
def test_a_bucket_without_a_name_is_refused(uri: str) -> None:
    with pytest.raises(UsageError, match="is no place for an archive"):
        open_store(uri, Aws)


def test_a_folder_that_cannot_be_read_is_named_and_nothing_of_a_network_is_said(tmp_path: Path) -> None:
    """A link to itself, which nobody can open: not even root, whom rights do not stop."""
    (tmp_path / "hour=18").mkdir()
    (tmp_path / "hour=18" / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match=r"hour=18.*[Ll]ink") as caught:
        LocalFolder(tmp_path, create=False).objects("hour=18")
    assert caught.value.exit_code == 2
    assert "network" not in caught.value.hint


DIES = """
import os, pathlib, signal, sys
from restrike.stores.folder import LocalFolder
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
LocalFolder(pathlib.Path(sys.argv[1]), create=True).create("hour=18/file", b"whole")
"""


def test_what_a_killed_put_left_goes_with_the_next_sweep_and_a_living_ones_stays(tmp_path: Path) -> None:
    died = subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], timeout=600)
    assert died.returncode == -signal.SIGKILL
    store, hour = LocalFolder(tmp_path, create=False), tmp_path / "hour=18"
    [left] = hour.iterdir()
    assert "#" in left.name
    with store._written(hour / "other", b"being written") as living:
        store.sweep("hour=18")
        assert list(hour.iterdir()) == [living]
    assert store.create("hour=18/file", b"whole")
    store.sweep("hour=18")
    assert [each.name for each in hour.iterdir()] == ["file"]
