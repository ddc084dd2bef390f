"""Where a run talks to, as data."""

from __future__ import annotations

import msgspec

from restrike.model.flags import Flag


class AwsSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Region, profile and DynamoDB endpoint; None means: from the environment and the shared config.

    Kept in the ledger, so that a resumed run talks to the same place.
    """

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None


FLAGS = (
    Flag("--region", "AWS Region.", "aws", metavar="REGION"),
    Flag("--profile", "Profile of the shared AWS config.", "aws", metavar="NAME"),
    Flag("--endpoint-url", "Where DynamoDB and its streams are.", "aws", metavar="URL"),
)
