"""The flags of every verb that makes runs."""

from __future__ import annotations

from restrike.model.flags import Flag

LEDGER = Flag(
    "--ledger",
    "The ledger's file.",
    "run",
    metavar="PATH",
    default="in the state folder",
    variable="RESTRIKE_LEDGER",
    completes="file",
)
EXPECT_ACCOUNT = Flag(
    "--expect-account", "Refuse any other AWS account.", "run", metavar="ID", variable="RESTRIKE_EXPECT_ACCOUNT"
)
PLAN_TIMEOUT_S = 30.0
PLAN_TIMEOUT = Flag(
    "--plan-timeout",
    "How long a plan waits for a service, or counts.",
    "run",
    "number",
    metavar="S",
    default=f"{PLAN_TIMEOUT_S:g}",
    field="plan_timeout_s",
)
PRICE = Flag(
    "--price",
    "USD a million units.",
    "pace",
    metavar="NAME=USD,NAME=USD",
    default="as listed",
    variable="RESTRIKE_PRICE",
)
FORCE = Flag("--force", "Run beside another run on the table.", "run", "switch")
ACCEPT_REPLICATION_CONFLICTS = Flag(
    "--accept-replication-conflicts", "Of a global table: write, though it can undo another Region's.", "run", "switch"
)
"""Asked for each time, and never of the environment: whether another Region is quiet is only known at the moment."""
RESUME = (
    Flag("--limit", "End when the whole run has dealt with so many.", "run", "integer", metavar="N"),
    Flag("--rate", "Items or records a second; max, of a touch.", "pace", "rate", metavar="N|max"),
    Flag("--max-wcu", "Of a touch: write units a second.", "pace", "number", metavar="N"),
    Flag(
        "--max-lag",
        "Of a touch: how far Lambda consumers may be behind.",
        "pace",
        metavar="DURATION|off",
        completes="lag",
    ),
    Flag("--max-lag-wait", "Of a touch: how long it waits for one.", "pace", metavar="DURATION"),
    Flag("--concurrency", "Of a touch: requests under way at once.", "pace", "integer", metavar="N"),
    Flag("--parallel", "Of a replay: lanes.", "pace", "integer", metavar="N"),
    Flag("--retries", "Of a replay: tries after the first.", "deliver", "integer", metavar="N"),
    Flag("--max-failures", "Of a replay: stop when more records were given up.", "deliver", "integer", metavar="N"),
    Flag(
        "--max-failures-in-a-row",
        "Of a replay: stop when so many whole batches in a row failed; 0: never.",
        "deliver",
        "integer",
        metavar="N",
    ),
    Flag("--verify", "Of a touch: look for each record on the stream.", "prove", "toggle"),
    Flag("--profile", "Profile of the shared AWS config.", "aws", metavar="NAME"),
    FORCE,
    ACCEPT_REPLICATION_CONFLICTS,
)
"""What a run may go on with otherwise. Each verb says which of them it takes."""


def run_flag(default: str) -> Flag:
    """`--run`, and the name that a run has without it."""
    return Flag("--run", "Name of the run.", "run", metavar="NAME", default=default, completes="run")
