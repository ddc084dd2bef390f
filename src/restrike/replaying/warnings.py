"""What is to be known of a replay before it is executed."""

from __future__ import annotations

import time

from restrike.model.plan import PlanWarning, lacking_images
from restrike.replaying.mapping import MappingSettings
from restrike.sources import SourceInfo
from restrike.targets import TargetInfo

EXPIRES_SOON_S = 600.0


def of_mapping(mapping: MappingSettings) -> list[PlanWarning]:
    if not mapping.live:
        return []
    message = (
        "the function's mapping delivers new records of the same items meanwhile: old ones would interleave "
        f"with them. {mapping.how_to_pause}"
    )
    return [PlanWarning("mapping-is-live", message)]


def of_source(info: SourceInfo, longest_s: float | None) -> list[PlanWarning]:
    """What the look told, images that records lack, and records that the source may have forgotten by then."""
    found = [PlanWarning(code, message) for code, message in info.warnings]
    if info.view_type in ("KEYS_ONLY", "NEW_IMAGE", "OLD_IMAGE"):
        found.append(PlanWarning("view-type", lacking_images(info.view_type)))
    if info.expires_s is None:
        return found
    left_s = max(0.0, info.expires_s - time.time())
    if left_s < EXPIRES_SOON_S or (longest_s is not None and left_s < longest_s):
        takes = f", and this run takes up to {longest_s / 3600:.1f} hours" if longest_s is not None else ""
        message = (
            f"the source forgets its oldest records within {left_s / 3600:.1f} hours{takes}. "
            "Keep them first: replay to jsonl:FILE, then from there."
        )
        found.append(PlanWarning("expires", message))
    return found


def of_target(info: TargetInfo, lanes: int, mapping: MappingSettings | None) -> list[PlanWarning]:
    """What the look told, and lanes that take more than half of what may be under way at once: somebody else's
    attempts would be throttled."""
    found = [PlanWarning(code, message) for code, message in info.warnings]
    if info.at_once is not None and lanes * 2 > info.at_once:
        beside = " beside the mapping's own" if mapping is not None and mapping.live else ""
        message = (
            f"{lanes} invocations at once{beside}, and {info.at_once_by} allows {info.at_once}: others would be "
            "throttled. Fewer: --parallel."
        )
        found.append(PlanWarning("concurrency", message))
    return found


def of_filters_on_net(*filters: str | None) -> list[PlanWarning]:
    """Filters (patterns, JMESPath) over net changes that ask for what those do not have, or have otherwise."""
    texts = [text for text in filters if text is not None]
    found = []
    if any("userIdentity" in text for text in texts):
        found.append(
            PlanWarning(
                "net-identity",
                "a filter asks for userIdentity, which no net change has: what time to live removed is not told apart.",
            )
        )
    if any("OldImage" in text and "NewImage" in text for text in texts):
        found.append(
            PlanWarning(
                "net-transitions",
                "a filter compares images, and of a net change OldImage is from before the window: what changed and "
                "changed back, or more than once, is not seen.",
            )
        )
    return found


def of_event_ids() -> PlanWarning:
    return PlanWarning(
        "same-event-ids",
        "records keep their eventID: a consumer that drops what it has seen drops them; --event-id fresh renews it.",
    )
