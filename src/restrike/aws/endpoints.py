"""Endpoints that a user gives: looked at before anything is sent there."""

from __future__ import annotations

from urllib.parse import urlsplit

from restrike.errors import UsageError

_FORM = "Give it as http://HOST:PORT or https://HOST."


def checked_endpoint(url: str, origin: str) -> str:
    """The URL; UsageError where requests cannot go there as it stands. `origin` says who gave it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{origin} {_shown(url)} is no endpoint: {error}", _FORM) from None
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"{origin} has a user or password in it, and AWS knows neither",
            f"{_FORM} Who asks is told by the credentials.",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{origin} {url!r} is no endpoint", _FORM)
    if port == 0:
        raise UsageError(f"{origin} {url!r} is no endpoint: nothing listens on port 0", _FORM)
    if parts.query or parts.fragment:
        raise UsageError(f"{origin} {url!r} is no endpoint: it has a query in it", _FORM)
    if any(letter.isspace() or not letter.isprintable() for letter in url):
        raise UsageError(f"{origin} {url!r} is no endpoint: it has a space in it", _FORM)
    return url


def no_certificates(bundle: str, why: object) -> UsageError:
    """The exception for a file that was to say whom to trust."""
    return UsageError(
        f"{bundle} cannot be read as certificates: {str(why).partition(chr(10))[0]}",
        "Name a PEM file: AWS_CA_BUNDLE, or ca_bundle in the AWS config.",
    )


def _shown(url: str) -> str:
    """Without what stands before an @: it may be a password."""
    return repr(url if "@" not in url else f"…@{url.rpartition('@')[2]}")
