"""Whom a diagnosis is about, and of when: as a person narrowed it, else as the losses say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from restrike.model.diagnosis import Asked, ConsumerSeen, Loss, Seen
from restrike.model.window import Window

REMEMBERED_S = 86_400.0
"""How long a stream has a record at least, and a mapping can be behind at most (DynamoDB Developer Guide, *Change data
capture for DynamoDB Streams*)."""


def consumers_named(seen: Seen, asked: Asked) -> tuple[ConsumerSeen, ...]:
    """Those that were asked for; all of them where nobody was."""
    return tuple(each for each in seen.consumers if asked.consumer is None or is_named(each, asked.consumer))


def is_named(consumer: ConsumerSeen, text: str) -> bool:
    """Whether that is its name, its mapping, or its function: by name or ARN, with its alias or without."""
    function, wanted = (each.rpartition(":function:")[2] for each in (consumer.function, text))
    return text in (consumer.name, consumer.mapping) or wanted in (function, function.partition(":")[0])


def consumers_meant(seen: Seen, asked: Asked, losses: Sequence[Loss]) -> tuple[ConsumerSeen, ...]:
    """Of those the ones that lost something, or may have; all of them where nobody did, or one was asked for."""
    named = consumers_named(seen, asked)
    lost = {loss.consumer for loss in losses if loss.certainty != "not visible"}
    return tuple(each for each in named if asked.consumer is not None or each.name in lost) or named


def window_meant(asked: Asked, losses: Iterable[Loss]) -> Window:
    """From when to when something was lost: what was asked for, else from the first loss to the last.

    Where it is not known how old records were when something went wrong, it begins as long before that as a stream
    remembers: older they cannot have been. None: that end is not known.
    """
    real = [loss for loss in losses if loss.certainty != "not visible"]
    return Window(
        _earliest(map(_since_at_least, real)) if asked.window.since_s is None else asked.window.since_s,
        _latest(loss.until_s for loss in real) if asked.window.until_s is None else asked.window.until_s,
    )


def _since_at_least(loss: Loss) -> float | None:
    if loss.since_s is None and loss.first_s is not None:
        return loss.first_s - REMEMBERED_S
    return loss.since_s


def _earliest(moments: Iterable[float | None]) -> float | None:
    known = list(moments)
    return None if None in known else min((each for each in known if each is not None), default=None)


def _latest(moments: Iterable[float | None]) -> float | None:
    known = list(moments)
    return None if None in known else max((each for each in known if each is not None), default=None)
