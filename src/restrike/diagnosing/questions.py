"""Questions that are asked side by side, each for as long as there is time; what was not answered is told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import msgspec

from restrike.aws.session import Aws
from restrike.errors import AwsError, RestrikeError
from restrike.model.diagnosis import Unseen
from restrike.wiring.beside import NOT_ASKED, in_time, missed

T = TypeVar("T")

LONGEST_S = 10.0
"""That one question may take."""
UNKNOWN = ("UnknownOperationException", "UnknownOperation", "NotImplemented", "InvalidAction")
"""What stand-ins answer to what they do not know."""
_MISUNDERSTOOD = (KeyError, TypeError, ValueError, AttributeError, IndexError, msgspec.MsgspecError)
"""What comes of an answer that is not the service's."""


class Questions:
    """One look's questions to `aws`, all of which end within `timeout_s` from now.

    A question that is denied, late or not understood is among `unseen`, and its answer is None.
    """

    def __init__(self, aws: Aws, timeout_s: float) -> None:
        self.aws = aws
        self._ends_at = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._unseen: dict[Unseen, None] = {}
        self._unasked: dict[str, None] = {}

    @property
    def left_s(self) -> float:
        return max(0.0, self._ends_at - time.monotonic())

    @property
    def unseen(self) -> tuple[Unseen, ...]:
        """In the order of their names, whoever was late."""
        told = sorted(self._unseen, key=lambda each: (each.what, each.why))
        if self._unasked:
            theirs = "their endpoints are not named" if len(self._unasked) > 1 else "its endpoint is not named"
            why = f"{NOT_ASKED}{self.aws.endpoint('dynamodb')}, and {theirs}"
            told.append(Unseen(", ".join(sorted(self._unasked)), why))
        return tuple(told)

    def note(self, *unseen: Unseen) -> None:
        for each in unseen:
            if each.why.startswith(NOT_ASKED):
                self._unasked[each.what] = None
            else:
                self._unseen[each] = None

    def may_ask(self, service: str, name: str) -> bool:
        """Whether that service may be asked; where it may not, `name` is told."""
        if self.aws.may_ask(service):
            return True
        self._unasked[name] = None
        return False

    async def ask(
        self, what: str, look: Callable[[], T], *, service: str = "dynamodb", permission: str = ""
    ) -> T | None:
        """What `look` finds, in a thread of its own. The service may be asked."""

        async def found() -> T:
            if service:
                self.aws.client(service)  # made in this thread: botocore makes none in several at once
            return await in_time(look, self.limit_s)

        return await self.follow(what, found(), permission=permission)

    async def follow(self, what: str, found: Coroutine[Any, Any, T], *, permission: str = "") -> T | None:
        """What that comes to. `permission`: what it takes, of several with commas the one that is denied is told."""
        limit_s = self.limit_s
        try:
            return await asyncio.wait_for(found, limit_s)
        except TimeoutError:
            self.note(Unseen(what, f"no answer within {limit_s:.3g} s"))
        except AwsError as error:
            if error.code in UNKNOWN:
                self.note(Unseen(what, f"what answers there does not know {error.operation}"))
            else:
                named = [each for each in permission.split(", ") if each.endswith(f":{error.operation}")]
                self.note(missed(what, named[0] if named else permission, error))
        except RestrikeError as error:
            self.note(missed(what, permission, error))
        except _MISUNDERSTOOD as error:
            self.note(Unseen(what, f"the answer is not understood ({type(error).__name__})"))
        return None

    @property
    def limit_s(self) -> float:
        """How long a question may take now: half of the time that is left at most, since one may lead to another."""
        return min(LONGEST_S, self.left_s / 2)
