"""The settings of a function's own event source mapping: a replay delivers as that mapping does."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from restrike.aws.lambda_ import FunctionName, mapped_function, unreadable_filter
from restrike.aws.streams import RETENTION_S
from restrike.errors import UsageError

DEFAULT_BATCH_SIZE = 100
DEFAULT_RETRIES = 5
"""Where the mapping tries for ever (−1, its default): a replay gives up, puts aside what failed, and goes on."""


STREAM_KEEPS_S = int(RETENTION_S)
"""So long a stream remembers a record; a mapping that is disabled for longer has lost it."""


class MappingSettings(msgspec.Struct, frozen=True):
    """What a replay takes over from a mapping.

    Not taken over: the maximum record age (records of last week are the point of a replay), the on-failure
    destination (its reader would take old records for new ones), the batching window (nothing is waited for).

    `target` is the function as the mapping invokes it, with its qualifier. `filter_criteria` is as Lambda describes it
    (`{"Filters": [{"Pattern": …}]}`), None where nothing is filtered. `live`: the mapping delivers new records, which
    old ones would interleave with. `kept_s` is how old a record may be when the mapping comes to deliver it.
    """

    uuid: str
    target: FunctionName
    state: str
    live: bool
    kept_s: int
    batch_size: int
    parallel: int
    retries: int
    bisect: bool
    report_batch_item_failures: bool
    filter_criteria: Mapping[str, Any] | None

    @property
    def how_to_pause(self) -> str:
        """What stops the mapping from delivering, when it has stopped, and by when it must go on.

        Lambda takes some minutes to stop, and may deliver meanwhile; disabled, the mapping keeps its place. (Lambda
        Developer Guide, *Using Lambda with Amazon DynamoDB*.)
        """
        disable = f"aws lambda update-event-source-mapping --uuid {self.uuid} --no-enabled"
        state = f"aws lambda get-event-source-mapping --uuid {self.uuid} --query State"
        begin = "It is being disabled" if self.state == "Disabling" else f"Pause it: {disable}. That takes minutes"
        kept = "24 hours" if self.kept_s == STREAM_KEEPS_S else f"{self.kept_s:,} s (its MaximumRecordAgeInSeconds)"
        lost = f"what is older than {kept} by then is lost for good"
        return f'{begin}: wait until this says "Disabled": {state}. Enable it again (--enabled) in time: {lost}.'


def mapping_of(name: FunctionName, mappings: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """That function's mapping, among those that ListEventSourceMappings lists for the stream.

    None where the function is not mapped to the stream. UsageError where it is not clear which mapping is meant: a bare
    name, and the mapping is on an alias, or there are several.
    """
    ours = [mapping for mapping in mappings if mapping.get("State") != "Deleting" and _same_function(name, mapping)]
    if name.qualifier is not None:
        chosen = [mapping for mapping in ours if _qualifier(mapped_function(mapping)) == _qualifier(name)]
        if not chosen:
            return None
    else:
        chosen = ours
        if not chosen:
            return None
        if len(chosen) > 1 or _qualifier(mapped_function(chosen[0])) != _qualifier(name):
            raise UsageError(_unclear(name, chosen), "Name the one you mean: " + _choices(name, chosen) + ".")
    if len(chosen) > 1:
        raise UsageError(_unclear(name, chosen), "Delete or disable all but one of them, or give every setting.")
    return chosen[0]


def mapping_settings(mapping: Mapping[str, Any], *, filters: bool = True) -> MappingSettings:
    """What a replay takes over from it. `filters`: its filter too, and so that must be readable (`with_filter`).

    UsageError where a replay cannot do what the mapping does: a tumbling window, a filter that may not be read.
    """
    uuid = str(mapping.get("UUID", ""))
    if mapping.get("TumblingWindowInSeconds"):
        raise UsageError(
            f"the mapping {uuid} has a tumbling window: its events carry a window and a state, which a replay has not",
            "Replay to handler:MODULE:FUNCTION or jsonl:PATH, and aggregate there.",
        )
    criteria = mapping.get("FilterCriteria")
    why = unreadable_filter(mapping) if filters else None
    if why is not None:
        raise UsageError(
            f"the filter of the mapping {uuid} cannot be read: {why}",
            "Allow lambda:GetEventSourceMapping, and kms:Decrypt on its key; or give the filter with --pattern.",
        )
    oldest_s = mapping.get("MaximumRecordAgeInSeconds") or -1
    retries = mapping.get("MaximumRetryAttempts")
    state = str(mapping.get("State", ""))
    return MappingSettings(
        uuid=uuid,
        target=mapped_function(mapping),
        state=state,
        # While it is being disabled it may hand over one more batch.
        live=state != "Disabled",
        kept_s=min(oldest_s, STREAM_KEEPS_S) if oldest_s >= 0 else STREAM_KEEPS_S,
        batch_size=mapping.get("BatchSize") or DEFAULT_BATCH_SIZE,
        parallel=mapping.get("ParallelizationFactor") or 1,
        retries=retries if retries is not None and retries >= 0 else DEFAULT_RETRIES,
        bisect=bool(mapping.get("BisectBatchOnFunctionError")),
        report_batch_item_failures="ReportBatchItemFailures" in (mapping.get("FunctionResponseTypes") or ()),
        filter_criteria=criteria if criteria and criteria.get("Filters") else None,
    )


def _same_function(name: FunctionName, mapping: Mapping[str, Any]) -> bool:
    theirs = mapped_function(mapping)
    return theirs.name == name.name and name.account in (None, theirs.account) and name.region in (None, theirs.region)


def _qualifier(name: FunctionName) -> str:
    """Lambda takes no qualifier and `$LATEST` for the same."""
    return name.qualifier or "$LATEST"


def _unclear(name: FunctionName, mappings: Sequence[Mapping[str, Any]]) -> str:
    which = ", ".join(f"{m.get('UUID')} on {_qualifier(mapped_function(m))}" for m in mappings)
    if len(mappings) == 1:
        return f"the stream does not invoke {name} but an alias or a version of it: mapping {which}"
    return f"{len(mappings)} mappings hand this stream to {name}: {which}"


def _choices(name: FunctionName, mappings: Sequence[Mapping[str, Any]]) -> str:
    named = (f"lambda:{name.qualified(_qualifier(mapped_function(m)))}" for m in mappings)
    return " or ".join(shlex.quote(each) for each in named)
