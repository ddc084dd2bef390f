"""What a replay takes over from an event source mapping, and what it refuses to guess."""

from __future__ import annotations

from typing import Any

import pytest

from restrike.aws.lambda_ import function_name
from restrike.errors import UsageError
from restrike.replaying.mapping import MappingSettings, mapping_of, mapping_settings

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
    found = mapping_of(function_name(name), mappings)
    assert found is not None
    return mapping_settings(found, **options)


def refusal(name: str, *mappings: dict[str, Any]) -> UsageError:
    with pytest.raises(UsageError) as caught:
        settings(name, *mappings)
    return caught.value


def test_lambdas_defaults_are_taken_over_but_for_endless_retries() -> None:
    assert settings("orders", mapping()) == MappingSettings(
        uuid="uuid",
        target=function_name(ARN),
        state="Enabled",
        live=True,
        kept_s=86_400,
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
    waits = 'wait until this says "Disabled": aws lambda get-event-source-mapping --uuid uuid --query State.'
    assert waits in found.how_to_pause
    assert ("update-event-source-mapping --uuid uuid --no-enabled" in found.how_to_pause) is (state != "Disabling")


@pytest.mark.parametrize(
    ("age_s", "told"),
    [
        (-1, "older than 24 hours by then is lost"),
        (None, "older than 24 hours by then is lost"),
        (604_800, "older than 24 hours by then is lost"),
        (7_200, "older than 7,200 s (its MaximumRecordAgeInSeconds) by then is lost"),
    ],
)
def test_a_pause_that_is_too_long_loses_records(age_s: int | None, told: str) -> None:
    assert told in settings("orders", mapping(MaximumRecordAgeInSeconds=age_s)).how_to_pause


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
    assert mapping_of(function_name(name), [mapping(), mapping(":live")]) is None
    assert mapping_of(function_name(name), []) is None


def test_a_bare_name_is_refused_where_an_alias_is_mapped() -> None:
    error = refusal("orders", mapping(":live"))
    assert "uuid:live on live" in error.message
    assert "lambda:orders:live" in error.hint


def test_a_bare_name_is_refused_where_several_match_and_all_are_listed() -> None:
    error = refusal("orders", mapping(":live"), mapping(":next"), mapping())
    assert "3 mappings" in error.message
    assert "lambda:orders:live or lambda:orders:next or 'lambda:orders:$LATEST'" in error.hint  # for a shell
    for qualifier in ("live", "next", "$LATEST"):
        assert settings(f"orders:{qualifier}", mapping(":live"), mapping(":next"), mapping())


def test_two_of_one_qualifier_are_refused() -> None:
    assert "2 mappings" in refusal("orders:live", mapping(":live", UUID="a"), mapping(":live", UUID="b")).message


def test_one_that_is_being_deleted_does_not_count() -> None:
    assert settings("orders", mapping(":old", State="Deleting"), mapping()).uuid == "uuid"
    assert mapping_of(function_name("orders"), [mapping(State="Deleting")]) is None


def test_a_tumbling_window_is_refused() -> None:
    error = refusal("orders", mapping(TumblingWindowInSeconds=30))
    assert "tumbling window" in error.message
    assert "handler:" in error.hint


def test_a_filter_that_cannot_be_read_is_not_taken_for_none() -> None:
    hidden = mapping(FilterCriteriaError={"ErrorCode": "KMSAccessDeniedException", "Message": "no key"})
    assert "no key" in refusal("orders", hidden).message
    assert settings("orders", hidden, filters=False).filter_criteria is None


@pytest.mark.parametrize(
    "text", ["orders:$LATEST.PUBLISHED", "orders.v2", "orders.v2:live", f"{ARN}:$LATEST.PUBLISHED"]
)
def test_names_that_lambda_allows(text: str) -> None:
    assert str(function_name(text)) == text


@pytest.mark.parametrize(
    "arn",
    [ARN.replace("orders", "other.v2"), f"{ARN}:$LATEST.NEXT", "arn:aws:lambda:us-east-1:1:new-form/of/an:arn", ""],
)
def test_an_arn_of_another_form_stops_nothing(arn: str) -> None:
    """It is another mapping's, and whoever plans has nothing to do with it."""
    other = mapping(FunctionArn=arn, UUID="other")
    assert settings("orders", other, mapping()).uuid == "uuid"
    assert mapping_of(function_name("orders"), [other]) is None


def test_a_published_version_is_named_as_it_is_mapped() -> None:
    published = mapping(":$LATEST.PUBLISHED")
    assert "lambda:orders:$LATEST.PUBLISHED" in refusal("orders", published).hint
    assert settings("orders:$LATEST.PUBLISHED", published).uuid == "uuid:$LATEST.PUBLISHED"
