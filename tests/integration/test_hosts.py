"""AWS's own hosts, all of whose requests come to a server of the tests: which were asked, from the plan to the end."""

from __future__ import annotations

from pathlib import Path

import pytest

import restrike
from restrike.aws.session import Aws, user_agent
from restrike.aws.settings import AwsSettings
from restrike.stores import open_store
from tests.integration import tables
from tests.servers.faults import faulty
from tests.servers.tunnel import Tunnel, tunnel
from tests.servers.witness import Answer, Asked, witness


def through(tunnel: Tunnel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", tunnel.proxy_url)
    monkeypatch.setenv("AWS_CA_BUNDLE", tunnel.ca_file)


FLAGS = {
    "": ("dynamodb.us-east-1.amazonaws.com", "streams.dynamodb.us-east-1.amazonaws.com"),
    "fips": ("dynamodb-fips.us-east-1.amazonaws.com", "streams.dynamodb-fips.us-east-1.amazonaws.com"),
    "dual-stack": ("dynamodb.us-east-1.api.aws", "streams-dynamodb.us-east-1.api.aws"),
    "fips dual-stack": ("dynamodb-fips.us-east-1.api.aws", "streams-dynamodb-fips.us-east-1.api.aws"),
}


@pytest.mark.parametrize("flags", FLAGS)
def test_a_touch_and_its_proof_ask_the_hosts_that_were_wanted(
    flags: str, dynamodb_local: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With dual-stack the proof asked a host that is none."""
    table = tables.create(dynamodb_local, ("pk", "S"), items=[{"pk": f"p{n}"} for n in range(3)])
    if "fips" in flags:
        monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    if "dual-stack" in flags:
        monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
    with faulty(dynamodb_local) as server, tunnel(server.endpoint_url, tmp_path) as led:
        through(led, monkeypatch)
        plan = restrike.touch(table.name, all=True, run=tables.run_name())
        report = plan.execute()
    assert (report.state, report.fired, report.seen) == ("COMPLETED", 3, 3)
    assert plan.data.endpoint == f"https://{FLAGS[flags][0]}"
    assert {host for host in server.hosts if "dynamodb" in host} == set(FLAGS[flags])
    assert {f"{host}:443" for host in server.hosts} == set(led.hosts)


BUCKETS = {
    "": ("kept.s3.us-east-2.amazonaws.com", "kept.s3.eu-west-1.amazonaws.com"),
    "fips": ("kept.s3-fips.us-east-2.amazonaws.com", "kept.s3-fips.us-west-2.amazonaws.com"),
    "dual-stack": ("kept.s3.dualstack.us-east-2.amazonaws.com", "kept.s3.dualstack.eu-west-1.amazonaws.com"),
}


@pytest.mark.parametrize("refused", [False, True])
@pytest.mark.parametrize("flags", BUCKETS)
def test_a_bucket_is_asked_in_its_own_region_at_the_hosts_that_were_wanted(
    flags: str, refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """obstore had hosts of its own, without FIPS, and the table's Region for every bucket."""
    of_table, of_bucket = BUCKETS[flags]
    region = of_bucket.split(".")[-3]

    def s3(asked: Asked) -> Answer:
        told = {"x-amz-bucket-region": region}
        if asked.host != of_bucket:
            return Answer(301, b"<Error><Code>PermanentRedirect</Code></Error>", told)
        if asked.method == "HEAD":
            return Answer(403 if refused else 200, headers=told)
        return Answer(body=b"kept", headers={"ETag": '"e"'})

    if flags:
        monkeypatch.setenv(f"AWS_USE_{flags.replace('-', '').upper()}_ENDPOINT", "true")
    with witness(s3) as server, tunnel(server.url, tmp_path) as led:
        through(led, monkeypatch)
        aws = Aws(AwsSettings(region="us-east-2"))
        store = open_store("s3://kept/archive", lambda: aws)
        assert store.read("object") == (b"kept", '"e"')
        assert store.now_s() is not None
    assert server.asked[0].host == of_table
    [read] = [asked for asked in server.asked if asked.method == "GET"]
    assert (read.host, read.target) == (of_bucket, "/archive/object")
    assert f"/{region}/s3/" in read.headers["authorization"]
    assert read.headers["user-agent"] == user_agent()
