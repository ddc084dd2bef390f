"""The environment variables that are restrike's own: settings, never what is selected, where it goes or how far."""

from __future__ import annotations

from collections.abc import Mapping

KNOWN = frozenset(
    {
        "RESTRIKE_LEDGER",
        "RESTRIKE_EXPECT_ACCOUNT",
        "RESTRIKE_MARKER",
        "RESTRIKE_RATE",
        "RESTRIKE_MAX_WCU",
        "RESTRIKE_PRICE",
        "RESTRIKE_LOCAL_PORT",
        "RESTRIKE_LOCAL_DATA",
        "RESTRIKE_DYNAMODB_LOCAL",
        "RESTRIKE_DEMO_BOOKS",
        "RESTRIKE_COMPLETION_TIMEOUT_S",
    }
)


def strangers(environment: Mapping[str, str]) -> list[str]:
    """What looks like a setting of restrike's and is none: somebody believes that it does something."""
    return sorted(name for name in environment if name.startswith("RESTRIKE_") and name not in KNOWN)
