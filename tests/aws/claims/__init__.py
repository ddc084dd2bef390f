"""The claims, and what no such table can settle."""

from __future__ import annotations

from tests.aws.claim import claims_of
from tests.aws.claims import batches, described, records, regions, silence, updates

OF_A_TABLE = claims_of([batches, updates, silence, records, described])
OF_TWO_REGIONS = claims_of([regions])

NOT_TRIED = (
    ("whether RETURNING or a condition in PartiQL wants dynamodb:PartiQLSelect", "needs a second role"),
    ("a mapping's FilterCriteria under a customer's key, in List and in Get", "needs a function and a key"),
    ("a mapping whose FunctionArn ends in $LATEST.PUBLISHED", "needs a function"),
    ("an unknown itemIdentifier in batchItemFailures", "needs a function"),
    ("whether batchSize of an on-failure message counts filtered records", "needs a function"),
    ("that a mapping which is disabled keeps its place", "needs a function"),
    ("eventSourceARN and itemIdentifier in EventBridge Pipes", "needs a pipe"),
    ("userIdentity of a delete by time to live, and its keys' spelling", "takes up to two days"),
    ("what a member of a batch answers on a conflict between strongly consistent replicas", "needs three Regions"),
    (
        "which code a member of a batch has that is throttled, and whether it says why",
        "needs a table that is throttled",
    ),
    ("which code it has beside a transaction on the same item", "needs writers at once"),
    ("how many empty pages a sparse shard has after hours", "takes a day"),
    ("what a shard that has just closed tells of its children", "takes a day"),
    ("global tables of 2017, with attributes aws:rep:*", "cannot be made any more"),
    ("the price of a change data capture unit", "needs the Price List"),
)
"""What it is, and what it would need."""
