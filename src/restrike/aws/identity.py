"""Which account and Region it is that is asked, as far as that can be known."""

from __future__ import annotations

import botocore.exceptions

from restrike.aws.session import Aws, ask
from restrike.errors import RestrikeError, UsageError
from restrike.model.permissions import Scope


def scope_of(aws: Aws, account: str | None, *, may_ask: bool) -> tuple[Scope, str]:
    """What ARNs are put together of; and why nothing else can be asked, where whose credentials these are cannot be.

    That question needs no permission. It is not asked where an account is told, nor of a table on this machine.
    """
    scope = _of_region(aws)
    if account is not None:
        return _with(scope, account), ""
    if not may_ask or not aws.may_ask("sts"):
        return scope, ""
    try:
        told = ask(aws.client("sts"), "GetCallerIdentity")
    except RestrikeError as error:
        return scope, error.message
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
    domain = aws.session.get_component("endpoint_resolver").get_partition_dns_suffix(partition)
    return Scope(partition, region, domain=str(domain))
