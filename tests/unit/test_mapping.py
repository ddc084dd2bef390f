"""What a replay takes over from an event source mapping, and what it refuses to guess."""

from __future__ import annotations

from typing import Any

import pytest

from restrike.aws.lambda_ import function_name
from restrike.errors import UsageError
from restrike.replaying.mapping import MappingSettings, mapping_settings

ARN = "arn:aws:lambda:us-east-1:123456789012:function:orders"


def mapping(qualifier: str = "", **members: Any) -> dict[str, Any]:
    """A mapping as ListEventSourceMappings describes it, with Lambda's defaults for streams."""
    return {
        "UUID": f"uuid{qualifier}",
        "FunctionArn": ARN + qualifier,
        "State": "Enabled",
        "BatchSize": 100,
        "MaximumBatchingWindowInSeconds": 0,
        "ParallelizationFactor": 1,
        "MaximumRecordAgeInSeconds": -1,
        "MaximumRetryAttempts": -1,
        "BisectBatchOnFunctionError": False,
        "TumblingWindowInSeconds": 0,
        "FunctionResponseTypes": [],
        **members,
    }


def settings(name: str, *mappings: dict[str, Any], **options: bool) -> MappingSettings:
    found = mapping_settings(function_name(name), mappings, **options)
    assert found is not None
    return found


def refusal(name: str, *mappings: dict[str, Any]) -> UsageError:
    with pytest.raises(UsageError) as caught:
        mapping_settings(function_name(name), mappings)
    return caught.value


def test_lambdas_defaults_are_taken_over_but_for_endless_retries() -> None:
    assert settings("orders", mapping()) == MappingSettings(
        uuid="uuid",
        target=function_name(ARN),
        state="Enabled",
        live=True,
        batch_size=100,
        parallel=1,
        retries=5,
        bisect=False,
        report_batch_item_failures=False,
        filter_criteria=None,
    )


def test_what_is_set_is_taken_over() -> None:
    criteria = {"Filters": [{"Pattern": '{"eventName":["REMOVE"]}'}]}
    found = settings(
        "orders",
        mapping(
            BatchSize=7,
            ParallelizationFactor=10,
            MaximumRetryAttempts=0,
            BisectBatchOnFunctionError=True,
            FunctionResponseTypes=["ReportBatchItemFailures"],
            FilterCriteria=criteria,
            # Never taken over:
            MaximumRecordAgeInSeconds=60,
            MaximumBatchingWindowInSeconds=300,
            DestinationConfig={"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:123456789012:dead"}},
        ),
    )
    assert (found.batch_size, found.parallel, found.retries) == (7, 10, 0)
    assert (found.bisect, found.report_batch_item_failures, found.filter_criteria) == (True, True, criteria)


def test_what_is_absent_has_its_default() -> None:
    found = settings("orders", {"UUID": "u", "FunctionArn": ARN, "State": "Disabled", "FilterCriteria": {}})
    assert (found.batch_size, found.parallel, found.retries) == (100, 1, 5)
    assert (found.bisect, found.report_batch_item_failures, found.filter_criteria) == (False, False, None)


@pytest.mark.parametrize(
    ("state", "live"),
    [("Enabled", True), ("Enabling", True), ("Creating", True), ("Updating", True), ("Disabling", True),
     ("Disabled", False)],
)  # fmt: skip
def test_a_live_mapping_is_told_and_how_to_pause_it(state: str, live: bool) -> None:
    found = settings("orders", mapping(State=state))
    assert (found.state, found.live) == (state, live)
    assert found.pause_command == "aws lambda update-event-source-mapping --uuid uuid --no-enabled"


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("orders:live", ":live"),
        (f"{ARN}:live", ":live"),
        ("123456789012:function:orders:live", ":live"),
        ("orders:7", ":7"),
        ("orders:$LATEST", ""),
    ],
)
def test_a_qualifier_names_its_mapping(name: str, chosen: str) -> None:
    found = settings(name, mapping(":7"), mapping(), mapping(":live"))
    assert (found.uuid, found.target) == (f"uuid{chosen}", function_name(ARN + chosen))


@pytest.mark.parametrize("name", ["orders", ARN, "orders:$LATEST"])
@pytest.mark.parametrize("qualifier", ["", ":$LATEST"])
def test_latest_and_unqualified_are_the_same(name: str, qualifier: str) -> None:
    assert settings(name, mapping(qualifier)).uuid == f"uuid{qualifier}"


@pytest.mark.parametrize(
    "name",
    ["other", "orders:other", "orders2", ARN.replace("12345678", "87654321"), ARN.replace("us-east", "eu-west")],
)
def test_a_function_that_is_not_mapped_has_no_settings(name: str) -> None:
    assert mapping_settings(function_name(name), [mapping(), mapping(":live")]) is None
    assert mapping_settings(function_name(name), []) is None


def test_a_bare_name_is_refused_where_an_alias_is_mapped() -> None:
    error = refusal("orders", mapping(":live"))
    assert "uuid:live on live" in error.message
    assert "lambda:orders:live" in error.hint


def test_a_bare_name_is_refused_where_several_match_and_all_are_listed() -> None:
    error = refusal("orders", mapping(":live"), mapping(":next"), mapping())
    assert "3 mappings" in error.message
    for qualifier in ("live", "next", "$LATEST"):
        assert f"lambda:orders:{qualifier}" in error.hint
        assert settings(f"orders:{qualifier}", mapping(":live"), mapping(":next"), mapping())


def test_two_of_one_qualifier_are_refused() -> None:
    assert "2 mappings" in refusal("orders:live", mapping(":live", UUID="a"), mapping(":live", UUID="b")).message


def test_one_that_is_being_deleted_does_not_count() -> None:
    assert settings("orders", mapping(":old", State="Deleting"), mapping()).uuid == "uuid"
    assert mapping_settings(function_name("orders"), [mapping(State="Deleting")]) is None


def test_a_tumbling_window_is_refused() -> None:
    error = refusal("orders", mapping(TumblingWindowInSeconds=30))
    assert "tumbling window" in error.message
    assert "handler:" in error.hint


def test_a_filter_that_cannot_be_read_is_not_taken_for_none() -> None:
    hidden = mapping(FilterCriteriaError={"ErrorCode": "KMSAccessDeniedException", "Message": "no key"})
    assert "no key" in refusal("orders", hidden).message
    assert settings("orders", hidden, own_pattern=True).filter_criteria is None
