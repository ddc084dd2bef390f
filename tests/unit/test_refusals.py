"""What each error that a write can meet leads to; a new one in botocore's model is noticed here."""

from __future__ import annotations

from typing import Any, Literal

import botocore.retries.standard
import botocore.session
import pytest

from restrike.aws.refusals import ENDS_THE_RUN, ERRORS, SENT_AGAIN, as_of_a_statement, error_for
from restrike.errors import AwsError, ServiceFault, Throttled

Leads = Literal["again", "item", "run"]
LEADS_TO: dict[str, Leads] = {
    "AccessDenied": "run",
    "ConditionalCheckFailed": "item",
    "DuplicateItem": "item",
    "InternalServerError": "again",
    "ItemCollectionSizeLimitExceeded": "item",
    "ProvisionedThroughputExceeded": "again",
    "ReplicatedWriteConflict": "again",
    "RequestLimitExceeded": "again",
    "ResourceNotFound": "run",
    "Throttling": "again",
    "TransactionConflict": "again",
    "Validation": "item",
}
"""By the name without its ending: statements end in Error where calls end in Exception, or in nothing at all."""

_model = botocore.session.Session().get_service_model("dynamodb")
_codes: Any = _model.shape_for("BatchStatementErrorCodeEnum")
STATEMENTS = (*_codes.enum, "ReplicatedWriteConflict")
UPDATES = (*(each.name for each in _model.operation_model("UpdateItem").error_shapes), "ValidationException")
BATCHES = tuple(each.name for each in _model.operation_model("BatchExecuteStatement").error_shapes)


def bare(code: str) -> str:
    return code if code == "InternalServerError" else code.removesuffix("Exception").removesuffix("Error")


def of_a_statement(code: str) -> Leads:
    kind = ERRORS.get(code, AwsError)
    return "again" if kind in SENT_AGAIN else "run" if kind in ENDS_THE_RUN else "item"


@pytest.mark.parametrize("code", STATEMENTS)
def test_every_code_of_a_statement_has_its_place(code: str) -> None:
    assert of_a_statement(code) == LEADS_TO[bare(code)]
    assert code in ERRORS


@pytest.mark.parametrize("code", UPDATES)
def test_every_error_of_a_single_update_leads_where_the_statements_does(code: str) -> None:
    statement = as_of_a_statement(code)
    if statement is not None:
        assert statement in STATEMENTS, "the report has one name for it"
        assert of_a_statement(statement) == LEADS_TO[bare(code)]
    else:
        kind = type(error_for("UpdateItem", code, ""))
        assert ("again" if kind in SENT_AGAIN else "run") == LEADS_TO[bare(code)]


@pytest.mark.parametrize("code", BATCHES)
def test_every_error_of_a_whole_batch_is_tried_again(code: str) -> None:
    assert isinstance(error_for("BatchExecuteStatement", code, ""), SENT_AGAIN)


OF_OTHERS = {"EC2ThrottledException", "TransactionInProgressException"}  # of EC2, and of transactions


def test_what_botocore_tries_again_is_tried_again() -> None:
    checkers: Any = botocore.retries.standard
    throttles = set(checkers.ThrottledRetryableChecker._THROTTLED_ERROR_CODES)
    transient = set(checkers.TransientRetryableChecker._TRANSIENT_ERROR_CODES)
    for code in (throttles | transient) - OF_OTHERS:
        assert ERRORS.get(code) is (ServiceFault if code in transient else Throttled), code


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, Throttled), (408, ServiceFault), (500, ServiceFault), (504, ServiceFault), (413, AwsError)],
)
def test_of_a_code_that_nobody_knows_the_status_tells(status: int, kind: type[AwsError]) -> None:
    assert type(error_for("UpdateItem", "Whatever", "", status)) is kind


def test_keys_that_are_not_known_may_be_new() -> None:
    assert "Are the keys new?" in error_for("Scan", "UnrecognizedClientException", "The security token is invalid").hint
