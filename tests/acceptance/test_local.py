"""`restrike local` as its user runs it: a subprocess, a real DynamoDB Local, real signals."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from restrike.local import dynamodb_local
from restrike.local.dynamodb_local import LocalServer

pytestmark = pytest.mark.usefixtures("dynamodb_local")  # fetched before a test takes the PATH away

TIMEOUT_S = 600
"""For what never ends; a busy machine is no reason to give up."""
RESTRIKE = str(Path(sys.executable).with_name("restrike"))


def local(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `restrike local ...`; returns before the server that it starts ends."""
    return subprocess.run(
        [RESTRIKE, "local", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
    )


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    yield
    assert local("stop").returncode == 0


def started(*words: str, **environment: str) -> dict[str, Any]:
    result = local("start", "--json", *words, **environment)
    assert result.returncode == 0, result.stderr
    server = json.loads(result.stdout)
    assert isinstance(server, dict)
    return server


def dynamodb(endpoint_url: str, region: str = "us-east-1", key: str = "local") -> Any:
    return boto3.client("dynamodb", region, endpoint_url=endpoint_url, aws_access_key_id=key, aws_secret_access_key=key)


def create_table(client: Any, name: str) -> None:
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def addresses_listening_on(port: int) -> set[str]:
    """The local addresses, in the kernel's own hexadecimal, that have a listening socket on that port."""
    listening = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        for line in table.read_text().splitlines()[1:] if table.exists() else []:
            _, local_address, _, state, *_ = line.split()
            address, _, hexadecimal_port = local_address.partition(":")
            if state == "0A" and int(hexadecimal_port, 16) == port:
                listening.add(address)
    return listening


def test_start_status_stop() -> None:
    start = local("start")
    endpoint = start.stdout.strip()
    assert start.returncode == 0, start.stderr
    assert start.stdout == f"{endpoint}\n", "stdout is the endpoint and nothing else"
    assert f"AWS_ENDPOINT_URL_DYNAMODB={endpoint} AWS_ENDPOINT_URL_DYNAMODB_STREAMS={endpoint}" in start.stderr
    assert "export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_REGION=us-east-1" in start.stderr
    assert "AWS_DEFAULT_REGION=us-east-1" in start.stderr
    assert dynamodb(endpoint).list_tables()["TableNames"] == []

    status = local("status", "--json")
    assert status.returncode == 0
    assert json.loads(status.stdout)["endpoint_url"] == endpoint
    assert "answers" in status.stderr
    pid = json.loads(status.stdout)["pid"]
    identity = dynamodb_local.process_identity(pid)
    assert identity

    again = local("start")
    assert (again.returncode, again.stdout) == (0, start.stdout)
    assert "already running" in again.stderr

    stop = local("stop")
    assert stop.returncode == 0
    assert "is stopped" in stop.stderr
    # Not asked at its port: that is free now, and another server may have it already.
    assert dynamodb_local.process_identity(pid) != identity

    status = local("status", "--json")
    assert (status.returncode, json.loads(status.stdout)) == (1, {"running": False})
    assert "restrike local start" in status.stderr


def test_only_this_machine_can_reach_it() -> None:
    loopback = f"{int.from_bytes(socket.inet_aton('127.0.0.1'), sys.byteorder):08X}"
    assert addresses_listening_on(started()["port"]) == {loopback}


def test_every_client_sees_the_same_tables_whatever_its_credentials_and_region() -> None:
    endpoint = started()["endpoint_url"]
    create_table(dynamodb(endpoint), "Orders")
    other = dynamodb(endpoint, region="eu-west-1", key="other")
    assert other.list_tables()["TableNames"] == ["Orders"]


def test_it_starts_with_the_java_of_the_extra_and_java_warns_of_nothing(tmp_path: Path) -> None:
    server = started(PATH=str(tmp_path))
    create_table(dynamodb(server["endpoint_url"]), "Orders")  # loads the native SQLite
    assert "WARNING" not in dynamodb_local.state_file().with_suffix(".log").read_text()


def test_data_outlives_the_server_where_a_folder_is_given(tmp_path: Path) -> None:
    data = tmp_path / "kept" / "tables"
    create_table(dynamodb(started("--data", str(data))["endpoint_url"]), "Orders")
    assert local("stop").returncode == 0

    server = started("--data", str(data))

    assert server["data"] == str(data)
    assert dynamodb(server["endpoint_url"]).list_tables()["TableNames"] == ["Orders"]


def test_a_port_that_is_taken_is_named_with_the_end_of_the_log() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = local("start", "--port", str(taken.getsockname()[1]))
    assert result.returncode == 1
    assert "Address already in use" in result.stderr
    assert "choose another" in result.stderr
    assert "Traceback" not in result.stderr
    assert local("status").returncode == 1


def test_a_given_port_is_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert started("--port", str(port))["endpoint_url"] == f"http://127.0.0.1:{port}"


def test_one_that_runs_is_not_taken_for_another_that_is_asked_for(tmp_path: Path) -> None:
    server = started()
    for words, said in ((("--port", "1"), "not on port 1"), (("--data", "d"), "not with its tables in d")):
        refused = local("start", *words)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"runs already, on port {server['port']} with tables in memory, {said}" in refused.stderr
        assert "restrike local stop" in refused.stderr
    assert started("--port", str(server["port"]))["pid"] == server["pid"]


def test_the_demos_table_is_made_once_and_left_alone_after() -> None:
    result = local("start", "--with-demo-table", AWS_ENDPOINT_URL="http://127.0.0.1:9", AWS_PROFILE="nobody")
    assert result.returncode == 0, result.stderr
    client = dynamodb(result.stdout.strip())
    assert "Table orders: 2,000 orders." in result.stderr
    assert client.scan(TableName="orders", Select="COUNT")["Count"] == 2_000
    client.delete_item(
        TableName="orders", Key={"customer_id": {"S": "customer-080"}, "order_id": {"S": "2021-01-22-140"}}
    )
    again = local("start", "--with-demo-table")
    assert (again.returncode, again.stdout) == (0, result.stdout)
    assert "Table orders: there is one already" in again.stderr
    assert client.scan(TableName="orders", Select="COUNT")["Count"] == 1_999


def test_two_starts_at_once_start_one_server() -> None:
    command = [RESTRIKE, "local", "start"]
    starts = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for _ in range(3)]
    endpoints = {process.communicate(timeout=TIMEOUT_S)[0] for process in starts}
    assert [process.returncode for process in starts] == [0, 0, 0]
    assert len(endpoints) == 1


def test_stop_leaves_a_process_alone_that_only_has_the_same_pid() -> None:
    server = started()
    state = dynamodb_local.state_file()
    recorded = state.read_text()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as bystander:
        state.write_text(recorded.replace(f'"pid":{server["pid"]}', f'"pid":{bystander.pid}'))

        stop = local("stop")

        assert stop.returncode == 0
        assert "not running" in stop.stderr
        assert bystander.poll() is None, "a bystander was ended"
    state.write_text(recorded)  # so that the real server is stopped


OWNER = """
import sys
from restrike.local.dynamodb_local import start_owned
with start_owned() as server:
    print(server.pid, server.identity, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["killed", "done"])
def test_an_owned_server_ends_with_its_owner(how: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        pid, identity = owner.stdout.readline().split()
        assert dynamodb_local.process_identity(int(pid)) == identity
        if how == "killed":
            owner.kill()
        else:
            owner.communicate(timeout=TIMEOUT_S)
    assert dynamodb_local.await_end(int(pid), identity, timeout_s=TIMEOUT_S), "the server outlived its owner"


def test_an_owned_server_is_not_the_one_of_the_command_line() -> None:
    with dynamodb_local.start_owned() as server:
        assert isinstance(server, LocalServer)
        assert dynamodb(server.endpoint_url).list_tables()["TableNames"] == []
        assert dynamodb_local.running() is None
