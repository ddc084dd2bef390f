"""How functions and targets are named, and what is said to who names them otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from restrike.aws.lambda_ import FunctionName, function_name
from restrike.errors import UsageError
from restrike.model.uri import Uri
from restrike.targets import kind_of, parse

ARN = "arn:aws:lambda:us-east-1:123456789012:function:orders"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("f", FunctionName("f")),
        ("my-fn_1:live", FunctionName("my-fn_1", "live")),
        ("f:$LATEST", FunctionName("f", "$LATEST")),
        ("f:42", FunctionName("f", "42")),
        ("123456789012:function:f:live", FunctionName("f", "live", account="123456789012")),
        (f"{ARN}:live", FunctionName("orders", "live", "us-east-1", "123456789012")),
        (
            "arn:aws-cn:lambda:cn-north-1:123456789012:function:f",
            FunctionName("f", None, "cn-north-1", "123456789012", "aws-cn"),
        ),
    ],
)
def test_functions_are_named_as_lambda_names_them(text: str, name: FunctionName) -> None:
    assert function_name(text) == name
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    ["", ":", "f:", "a b", "f:a:b", "f/g", "arn:aws:sqs:us-east-1:123456789012:q", "function:f:live:x", ARN + ":"],
)
def test_what_names_no_function_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no Lambda function"):
        function_name(text)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("-", Uri("jsonl", "-", "-")),
        ("jsonl:-", Uri("jsonl", "-", "-")),
        ("jsonl:out/a b.jsonl", Uri("jsonl", "/here/out/a b.jsonl", "jsonl:out/a b.jsonl")),
        ("jsonl:/there", Uri("jsonl", "/there", "jsonl:/there")),
        ("jsonl:C:x", Uri("jsonl", "/here/C:x", "jsonl:C:x")),
        ("lambda:f:live", Uri("lambda", "f:live", "lambda:f:live")),
        (f"lambda:{ARN}", Uri("lambda", ARN, f"lambda:{ARN}")),
        ("handler:app.consumer:main", Uri("handler", "/here:app.consumer:main", "handler:app.consumer:main")),
    ],
)
def test_targets(text: str, target: Uri) -> None:
    assert parse(text, Path("/here")) == target
    assert kind_of(target).takes_stdout(target) is (target.text == "-")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "jsonl:PATH"),
        ("orders", "lambda:NAME[:ALIAS]"),
        ("lambda:", "lambda:NAME[:ALIAS]"),
        ("sqs:queue", "handler:MODULE:FUNCTION"),
        (ARN, f"lambda:{ARN}"),
        ("lambda:a b", "NAME:ALIAS"),
        ("handler:app", "handler:MODULE:FUNCTION"),
        ("handler:app.main", "handler:app:main"),
        ("handler:app:main:more", "handler:MODULE:FUNCTION"),
        ("handler:1app:main", "handler:MODULE:FUNCTION"),
        ("handler:./src/app.py:main", "handler:src.app:main"),
        ("handler:app.py:main", "handler:app:main"),
    ],
)
def test_what_is_no_target_is_told_what_is(text: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text, Path("/here"))
    assert hint in caught.value.hint
