"""Which account and Region it is that is asked, as far as that can be known."""

from __future__ import annotations

import botocore.exceptions

from restrike.aws.session import Aws, ask
from restrike.errors import BadCredentials, RestrikeError, Unreachable, UsageError
from restrike.model.permissions import Scope


def scope_of(aws: Aws, account: str | None, *, may_ask: bool) -> tuple[Scope, str]:
    """What ARNs are put together of; and why nothing else is to be asked, where there is nobody to ask: no Region, no
    credentials, no answer.

    Whose credentials these are needs no permission. It is not asked where an account is told, nor of a table on this
    machine.
    """
    scope = _of_region(aws)
    if account is not None:
        return _with(scope, account), ""
    if not may_ask or not aws.may_ask("sts"):
        return scope, ""
    try:
        told = ask(aws.client("sts"), "GetCallerIdentity")
    except RestrikeError as error:
        nobody = isinstance(error, (BadCredentials, Unreachable, UsageError))
        return scope, error.message if nobody else ""
    return _with(scope, str(told["Account"])), ""


def _with(scope: Scope, account: str) -> Scope:
    return Scope(scope.partition, scope.region, account, scope.domain)


def _of_region(aws: Aws) -> Scope:
    try:
        region = aws.region
    except UsageError:
        return Scope()
    try:
        partition = str(aws.session.get_partition_for_region(region))
    except botocore.exceptions.UnknownRegionError:  # newer than botocore's data
        return Scope(region=region)
    known = aws.session.get_component("data_loader").load_data("partitions")["partitions"]
    domains = {each["id"]: str(each["outputs"]["dnsSuffix"]) for each in known}
    return Scope(partition, region, domain=domains.get(partition, Scope().domain))
