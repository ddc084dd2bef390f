"""Where requests really go: asked of botocore, which knows the hosts of every partition, with FIPS and dual-stack.

`client.meta.endpoint_url` does not say it: that is of an older table of hosts, and requests follow rules of their own.
Who resolves them is private to botocore; so a request is built, and stopped as it would be sent. Nothing leaves this
machine, and nothing is signed.
"""

from __future__ import annotations

import weakref
from contextvars import ContextVar
from typing import Any

import botocore
import botocore.exceptions
import msgspec
from botocore import xform_name

from restrike.errors import UsageError

_CHEAP: dict[str, tuple[str, dict[str, str]]] = {
    "dynamodb": ("ListTables", {}),
    "dynamodbstreams": ("ListStreams", {}),
    "lambda": ("GetAccountSettings", {}),
    "s3": ("ListBuckets", {}),
    "sts": ("GetCallerIdentity", {}),
    "application-autoscaling": ("DescribeScalableTargets", {"ServiceNamespace": "dynamodb"}),
}
"""Service → a question that needs to know nothing; of other services the first that needs no parameters is taken."""


class Destination(msgspec.Struct, frozen=True):
    """The URL of a service, without what an operation adds to it and without a slash at its end, and what a request
    there is signed for."""

    url: str
    region: str
    signing_name: str


class _Caught(BaseException):
    """A request as it would have been sent. No Exception: botocore would try those again."""

    def __init__(self, url: str) -> None:
        self.url = url


_signing: ContextVar[dict[str, str] | None] = ContextVar("signing", default=None)
"""Set in the thread that asks where a request goes, and in no other that uses the same client."""
_known: weakref.WeakKeyDictionary[Any, Destination] = weakref.WeakKeyDictionary()


def destination_of(client: Any) -> Destination:
    """Where the requests of that client of botocore's go; asked once."""
    found = _known.get(client)
    if found is None:
        model = client.meta.service_model
        operation, parameters = _CHEAP.get(model.service_name) or (_without_parameters(model), {})
        found = _known[client] = destination(client, operation, **parameters)
    return found


def _without_parameters(model: Any) -> str:
    return next(
        str(name)
        for name in model.operation_names
        if not (shape := model.operation_model(name).input_shape) or not shape.required_members
    )


def destination(client: Any, operation: str, **parameters: Any) -> Destination:
    """Where that would go; UsageError where botocore knows no such place."""
    events, model = client.meta.events, client.meta.service_model
    events.register_first("choose-signer", _unsigned, unique_id="restrike-unsigned")
    events.register_first("before-send", _stop, unique_id="restrike-stop")
    signing: dict[str, str] = {}
    before = _signing.set(signing)
    try:
        getattr(client, xform_name(operation))(**parameters)
    except _Caught as caught:
        path = str(model.operation_model(operation).http["requestUri"]).partition("?")[0]
        url = caught.url.partition("?")[0]
        return Destination(url.rstrip("/").removesuffix(path.rstrip("/")), **signing)
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise UsageError(
            f"no request can be sent to {model.service_id}: {error}",
            "Check --region, --endpoint-url, and the settings of FIPS and dual-stack.",
        ) from None
    finally:
        _signing.reset(before)
    raise AssertionError(f"{operation} was sent without being announced")


def _unsigned(region_name: str, signing_name: str, **_: Any) -> Any:
    """botocore's event `choose-signer`: no credentials are looked for."""
    signing = _signing.get()
    if signing is None:
        return None
    signing.update(region=region_name, signing_name=signing_name)
    return botocore.UNSIGNED


def _stop(request: Any, **_: Any) -> None:
    """botocore's event `before-send`."""
    if _signing.get() is not None:
        raise _Caught(str(request.url))
