"""Questions that are asked side by side: what each does to the others where it is late, denied or strange."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import msgspec
import pytest

from restrike.aws.session import Aws
from restrike.diagnosing import questions as module
from restrike.diagnosing.questions import Questions
from restrike.errors import AccessDenied, AwsError, SourceLacks
from restrike.model.diagnosis import Unseen
from restrike.wiring.beside import NOT_ASKED


def refused(error: Exception) -> Any:
    raise error


def told(error: Exception, permission: str = "") -> tuple[Unseen, ...]:
    questions = Questions(Aws(), 60)
    found = asyncio.run(questions.ask("it", lambda: refused(error), service="", permission=permission))
    assert found is None
    return questions.unseen


@pytest.mark.parametrize(
    ("error", "permission", "unseen"),
    [
        (AccessDenied("no", operation="Scan"), "a:Query, a:Scan", Unseen("it", "access denied", "a:Scan")),
        (
            AccessDenied("no"),
            "s3:ListBucket, s3:GetObject",
            Unseen("it", "access denied", "s3:ListBucket, s3:GetObject"),
        ),
        (AwsError("Scan: no", operation="Scan"), "a:Scan", Unseen("it", "Scan: no")),
        (SourceLacks("it is empty"), "", Unseen("it", "it is empty")),
        (
            AwsError("no", code="UnknownOperationException", operation="DescribeContinuousBackups"),
            "a:b",
            Unseen("it", "what answers there does not know DescribeContinuousBackups"),
        ),
        (KeyError("Streams"), "", Unseen("it", "the answer is not understood (KeyError)")),
        (msgspec.ValidationError("no"), "", Unseen("it", "the answer is not understood (ValidationError)")),
    ],
    ids=["denied", "denied-unnamed", "refused", "lacks", "unknown", "strange", "unreadable"],
)
def test_what_goes_wrong_is_told(error: Exception, permission: str, unseen: Unseen) -> None:
    assert told(error, permission) == (unseen,)


def test_a_defect_is_not_taken_for_an_answer() -> None:
    with pytest.raises(ZeroDivisionError):
        told(ZeroDivisionError())


def test_one_that_is_late_takes_nothing_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_S", 0.05)
    over = threading.Event()

    async def both() -> list[object]:
        late = questions.ask("late", over.wait, service="")
        return list(await asyncio.gather(late, questions.follow("quick", quick())))

    async def quick() -> str:
        return "there"

    questions = Questions(Aws(), 60)
    assert asyncio.run(both()) == [None, "there"]
    over.set()
    assert questions.unseen == (Unseen("late", "no answer within 0.05 s"),)


def test_a_question_takes_half_of_the_time_that_is_left() -> None:
    assert 0.9 < Questions(Aws(), 2.0).limit_s <= 1.0
    assert Questions(Aws(), 1_000).limit_s == module.LONGEST_S
    assert Questions(Aws(), 0).limit_s == 0


def test_who_may_not_be_asked_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:8000")
    questions = Questions(Aws(), 60)
    assert questions.may_ask("dynamodb", "DynamoDB")
    assert not questions.may_ask("lambda", "Lambda")
    assert not questions.may_ask("lambda", "Lambda")
    questions.note(
        Unseen("EventBridge Pipes", f"{NOT_ASKED}http://127.0.0.1:8000"), Unseen("b", "no"), Unseen("a", "no")
    )
    *others, unasked = questions.unseen
    assert [each.what for each in others] == ["a", "b"]
    assert unasked.what == "EventBridge Pipes, Lambda"
    assert unasked.why == f"{NOT_ASKED}http://127.0.0.1:8000, and their endpoints are not named"
