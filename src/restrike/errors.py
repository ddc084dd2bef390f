"""Every way in which Restrike gives up, as one tree.

    RestrikeError                  exit code
    ├── UsageError                     2   the command line or the call asks for something impossible
    ├── AwsError                       3   AWS (or what stands in for it) refused
    │   ├── AccessDenied
    │   ├── NotFound
    │   ├── Invalid                        the service calls the request itself wrong
    │   ├── ItemRefused                    only that item is refused: the others are written
    │   ├── Conflict                       somebody else writes that item at this moment
    │   ├── Throttled
    │   ├── ServiceFault                   a 5xx answer
    │   ├── Unreachable                    no answer: connection, name, time-out
    │   ├── BadCredentials
    │   ├── ExpiredIterator
    │   └── TrimmedData
    ├── NoMoreFiles                    1   the process's own limit
    ├── SourceLacks                    4   the source does not hold what was asked for
    ├── DeliveryFailed                 5
    └── VerificationFailed             6

An error ends a run. What goes wrong with a single item is no exception but data in the report.
"""

from __future__ import annotations

import errno
from typing import Any


class RestrikeError(Exception):
    """What happened (`message`), what to do next (`hint`), and the exit code that the command ends with."""

    exit_code = 1
    report: Any = None
    """The report of the run that it ended, where one had begun."""
    can_go_on = True
    """Whether that run can be resumed."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(RestrikeError):
    """The request cannot be carried out as it was made; nothing was written."""

    exit_code = 2


class NoMoreFiles(RestrikeError):
    """This process has as many files and connections open as it may (EMFILE, ENFILE)."""

    def __init__(self) -> None:
        super().__init__("no more files can be opened", "Raise the limit (`ulimit -n`), or use fewer at once.")


NO_MORE_FILES = (errno.EMFILE, errno.ENFILE)


class AwsError(RestrikeError):
    """A service answered an error. `code` is the service's own, `operation` the API call.

    `item` is the item as it was, where a failed condition was asked to return it.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        code: str = "",
        operation: str = "",
        status: int = 0,
        throttling_reasons: tuple[str, ...] = (),
        item: dict[str, dict[str, object]] | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.code = code
        self.operation = operation
        self.status = status
        self.throttling_reasons = throttling_reasons
        self.item = item


class AccessDenied(AwsError):
    """The credentials lack a permission."""


class NotFound(AwsError):
    """The table, stream, shard or function does not exist."""


class Invalid(AwsError):
    """The service calls the request itself wrong."""


class ItemRefused(AwsError):
    """The service does not write that one item; it says nothing of any other."""


class Conflict(AwsError):
    """The item is being written by a transaction, or in another Region: this write was not carried out."""


class Throttled(AwsError):
    """The service asks for fewer requests."""


class ServiceFault(AwsError):
    """The service failed; the request may or may not have been carried out."""


class Unreachable(AwsError):
    """No answer came; the request may or may not have been carried out."""


class BadCredentials(AwsError):
    """There are no credentials, or the service does not accept them."""


class ExpiredIterator(AwsError):
    """A shard iterator is older than 15 minutes."""


class TrimmedData(AwsError):
    """The stream no longer holds that position: it forgets after 24 hours."""


class SourceLacks(RestrikeError):
    """The source does not hold what was asked for."""

    exit_code = 4


class DeliveryFailed(RestrikeError):
    """The target did not take the records."""

    exit_code = 5


class VerificationFailed(RestrikeError):
    """Items that were written were not seen on the stream."""

    exit_code = 6
