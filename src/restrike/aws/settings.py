"""Where a run talks to, as data."""

from __future__ import annotations

import msgspec


class AwsSettings(msgspec.Struct, frozen=True):
    """Region, profile and DynamoDB endpoint; None means: from the environment and the shared config.

    Kept in the ledger, so that a resumed run talks to the same place.
    """

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None


AWS_FLAGS = {"region": "--region", "profile": "--profile", "endpoint_url": "--endpoint-url"}
"""Field → flag."""
