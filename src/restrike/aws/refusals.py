"""What a service says when it refuses, as our exceptions: one table from error code to exception, and the hints."""

from __future__ import annotations

from restrike.errors import (
    AccessDenied,
    AwsError,
    BadCredentials,
    Conflict,
    ExpiredIterator,
    Invalid,
    ItemRefused,
    NotFound,
    ServiceFault,
    Throttled,
    TrimmedData,
    Unreachable,
)

ERRORS: dict[str, type[AwsError]] = {
    "AccessDenied": AccessDenied,
    "AccessDeniedException": AccessDenied,
    "NotAuthorizedException": AccessDenied,
    "ResourceNotFoundException": NotFound,
    "ResourceNotFound": NotFound,
    "TableNotFoundException": NotFound,
    "ValidationException": Invalid,
    "ValidationError": Invalid,
    "SerializationException": Invalid,
    "ConditionalCheckFailedException": ItemRefused,
    "ConditionalCheckFailed": ItemRefused,
    "ItemCollectionSizeLimitExceededException": ItemRefused,
    "ItemCollectionSizeLimitExceeded": ItemRefused,
    "DuplicateItemException": ItemRefused,
    "DuplicateItem": ItemRefused,
    "TransactionConflictException": Conflict,
    "TransactionConflict": Conflict,
    "ReplicatedWriteConflictException": Conflict,
    "ReplicatedWriteConflict": Conflict,  # of a statement: no model has it, and nobody has told of another spelling
    "ThrottlingException": Throttled,
    "ThrottlingError": Throttled,
    "Throttling": Throttled,
    "ProvisionedThroughputExceededException": Throttled,
    "ProvisionedThroughputExceeded": Throttled,
    "RequestLimitExceeded": Throttled,
    "LimitExceededException": Throttled,
    "TooManyRequestsException": Throttled,
    "ThrottledException": Throttled,
    "RequestThrottled": Throttled,
    "RequestThrottledException": Throttled,
    "BandwidthLimitExceeded": Throttled,
    "SlowDown": Throttled,
    "PriorRequestNotComplete": ServiceFault,
    "RequestTimeout": ServiceFault,
    "RequestTimeoutException": ServiceFault,
    "InternalServerError": ServiceFault,
    "InternalFailure": ServiceFault,
    "ServiceUnavailable": ServiceFault,
    "ServiceUnavailableException": ServiceFault,
    "ExpiredIteratorException": ExpiredIterator,
    "TrimmedDataAccessException": TrimmedData,
    "ExpiredTokenException": BadCredentials,
    "ExpiredToken": BadCredentials,
    "RequestExpired": BadCredentials,
    "UnrecognizedClientException": BadCredentials,
    "InvalidClientTokenId": BadCredentials,
    "InvalidSignatureException": BadCredentials,
    "MissingAuthenticationTokenException": BadCredentials,
    "MissingAuthenticationToken": BadCredentials,
    "IncompleteSignatureException": BadCredentials,
}
"""A service's error code, of a call or of a statement in a batch → our exception.

Of a write, each kind leads to one thing. It is sent again after Throttled, Conflict and ServiceFault; after the last
it is not known whether it was carried out. AccessDenied, NotFound and BadCredentials every other write would meet too:
the run ends. Whatever else a statement answers is of its item alone, and so is what UpdateItem answers as ItemRefused,
Conflict or ValidationException. What is not here is an AwsError; `error_for` looks at its status.

That a collection is full (ItemCollectionSizeLimitExceeded: 10 GB under one partition key) AWS calls fit to be tried
again; but it does not grow empty while a run tries. So AWS calls UnrecognizedClientException, for keys that are seconds
old; a run ends all the same, since keys that are wrong look no different.
"""

SENT_AGAIN = (Throttled, Conflict, ServiceFault)
ENDS_THE_RUN = (AccessDenied, NotFound, BadCredentials)

_HINTS: dict[type[AwsError], str] = {
    AccessDenied: "Allow that action to these credentials, or use others (--profile).",
    NotFound: "Check the name, --region and --endpoint-url.",
    Throttled: "Try again later, or slower (--rate, --max-wcu).",
    Conflict: "Other writers keep that item busy. Run the command again, when it is quiet.",
    ServiceFault: "The service failed. Run the command again, later.",
    BadCredentials: "Log in again, or set other credentials (--profile); then run the command again.",
}

_OF_NEW_KEYS = "Are the keys new? They may need a moment until every service knows them. Else: "
_UNKNOWN_KEYS = frozenset({"UnrecognizedClientException", "InvalidClientTokenId"})

_OF_THE_CLOCK = ("Signature expired", "Signature not yet current", "Request has expired", "RequestTimeTooSkewed")
CLOCK_HINT = "This machine's clock is wrong by minutes: set it, then run the command again."

EXPIRED_TOKEN_CODES = frozenset({"ExpiredTokenException", "ExpiredToken", "RequestExpired"})


def of_the_clock(text: str) -> bool:
    """Whether a refusal is about the time at which the request was signed: AWS takes 15 minutes, S3 too."""
    return any(words in text for words in _OF_THE_CLOCK)


def error_for(operation: str, code: str, message: str, status: int = 400, reasons: tuple[str, ...] = ()) -> AwsError:
    """The exception for an error answer of a service."""
    kind = ERRORS.get(code) or _of_status(status)
    text = f"{operation}: {code}: {message}" if message else f"{operation}: {code or status}"
    hint = CLOCK_HINT if of_the_clock(f"{code} {message}") else _HINTS.get(kind, "")
    if code in _UNKNOWN_KEYS:
        hint = _OF_NEW_KEYS + hint
    return kind(text, hint, code=code, operation=operation, status=status, throttling_reasons=reasons)


def _of_status(status: int) -> type[AwsError]:
    """The exception for a code that is not known; proxies answer with these, too."""
    if status == 429:
        return Throttled
    return ServiceFault if status >= 500 or status == 408 else AwsError


def as_of_a_statement(code: str) -> str | None:
    """How a statement of a batch would name this error of UpdateItem; None where it is not of the item alone."""
    if code == "ValidationException":
        return "ValidationError"
    return code.removesuffix("Exception") if ERRORS.get(code) in (ItemRefused, Conflict) else None


def not_of(service: str, operation: str, url: str) -> ServiceFault:
    """The exception for an answer that the service cannot have given, though its status says all is well."""
    return ServiceFault(
        f"{operation}: what answers at {url} is not {service}: its answer cannot be read",
        "Is a proxy or a login page between? Check --endpoint-url, and the proxy's settings.",
        operation=operation,
    )


def unreachable(operation: str, url: str, cause: BaseException) -> Unreachable:
    """The exception for a call that got no answer."""
    what = str(cause) or type(cause).__name__
    return Unreachable(
        f"{operation}: no answer from {url}: {what}",
        "Check the network, --region and --endpoint-url; then run the command again.",
        operation=operation,
    )
