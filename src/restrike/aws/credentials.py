"""What requests are signed with: one object for every client, wire and store of a process.

So what is renewed once is renewed for all of them. botocore finds credentials and refreshes those that tell when they
end; what was written anew into a file is found by looking from the start.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import botocore.exceptions
import botocore.session

from restrike.aws.signing import FrozenCredentials
from restrike.errors import BadCredentials

CREDENTIALS_HINT = (
    "Set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (any value for DynamoDB Local), or log in."
)
LOGIN_HINT = "pip install 'restrike[login]', which brings what profiles of `aws login` need."

# A refresh asks a login service, reads files or runs a process: each fails in its own way, and botocore lets some pass.
_FAILURES = (
    botocore.exceptions.BotoCoreError,
    botocore.exceptions.ClientError,
    OSError,
    RuntimeError,
    ValueError,
    KeyError,
)


class Credentials:
    """Found when they are first needed. BadCredentials where there are none, or none any more.

    botocore takes it for a provider's chain (`load_credentials`) and for what that found (`get_frozen_credentials`).
    """

    method = "restrike"

    def __init__(self, session: Callable[[], botocore.session.Session]) -> None:
        """`session` makes a new session of botocore's, which knows nothing of what others found."""
        self._session = session
        self._found: Any = None
        self._finding = threading.Lock()

    def load_credentials(self) -> Credentials:
        return self

    def find(self) -> None:
        """Looks for them where nobody has yet."""
        with self._finding:
            if self._found is None:
                self._look()

    def renew(self, refused: FrozenCredentials | None = None) -> None:
        """Looks for them again from the start, unless another has since `refused` were."""
        with self._finding:
            if refused is None or self._found is None or self._frozen() == refused:
                self._look()

    def refresh_needed(self) -> bool:
        """Whether the next question for them asks a login service or runs a process: nothing for an event loop."""
        return self._found is None or bool(getattr(self._found, "refresh_needed", _never)())

    def get_frozen_credentials(self) -> FrozenCredentials:
        """As they are now, refreshed where it is time to."""
        if self._found is None:
            self.find()
        return self._frozen()

    def get_deferred_property(self, name: str) -> Callable[[], Any]:
        """Nothing. botocore's rules ask for the account, also where no host is named after it, and it would have to be
        found before a host is."""
        return lambda: None

    def _look(self) -> None:
        try:
            found = self._session().get_credentials()
        except _FAILURES as error:
            raise _none(error) from None
        if found is None:
            raise BadCredentials("no AWS credentials were found", CREDENTIALS_HINT)
        self._found = found

    def _frozen(self) -> FrozenCredentials:
        try:
            frozen: FrozenCredentials = self._found.get_frozen_credentials()
        except _FAILURES as error:
            raise _none(error) from None
        return frozen


def _none(error: Exception) -> BadCredentials:
    needs_more = isinstance(error, botocore.exceptions.MissingDependencyException)
    return BadCredentials(f"no AWS credentials: {error}", LOGIN_HINT if needs_more else CREDENTIALS_HINT)


def _never() -> bool:
    return False
