"""What a response of the service means and how long to wait: pure functions, no state.

Facts about PutRecords come from its page in the Kinesis Data Streams API reference and from the
list of errors common to all actions there.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from kinesis_fast._core.answer import all_accepted
from kinesis_fast._core.cbor_answer import all_accepted_cbor, decode_cbor
from kinesis_fast.errors import TransportError
from kinesis_fast.limits import BACKOFF_BASE_S, BACKOFF_CAP_S, MAX_ATTEMPTS, RETRY_BUDGET_S
from kinesis_fast.logs import counted
from kinesis_fast.transport import NotSentError, Response, is_cbor
from kinesis_fast.transport.secrets import presentable


class Outcome(Enum):
    """What to do with a request after an attempt."""

    SETTLED = "every entry is acknowledged"
    PARTIAL = "some entries failed: send those again"
    RETRY_ALL = "the whole request failed for a reason that may pass: send it again"
    REFUSED = "the service refuses the content: find the record that causes it"
    BLOCKED = "it fails until an operator changes something: return the chunk"


class Verdict(NamedTuple):
    """What an attempt led to.

    Attributes:
        outcome: what to do next.
        failed: for PARTIAL the indexes of the entries that failed, ascending, never empty.
        refused: those of them whose content the service refuses, each with its own reason.
        throttled: whether the service told to slow down, for one entry at least.
        reason: what failed, in the words of the service, unescaped; empty when SETTLED.
        hint: what an operator can do about it; may be empty.
        n_sent: how often the request went out.
        is_for_all: whether any other request would fail as well, by its reason.
        codes: the codes of `failed` with how often each occurs; of a request that failed as a whole
            its one code, such as "AccessDeniedException", "HTTP-502" or the name of an exception.
        is_astray: whether the response may be about another request.
    """

    outcome: Outcome
    failed: Sequence[int] = ()
    throttled: bool = False
    reason: str = ""
    hint: str = ""
    n_sent: int = 1
    refused: Mapping[int, str] = MappingProxyType({})
    is_for_all: bool = False
    codes: Mapping[str, int] = MappingProxyType({})
    is_astray: bool = False

    @property
    def again(self) -> Sequence[int]:
        """The entries that failed and are to be sent again."""
        return [index for index in self.failed if index not in self.refused]


SETTLED: Final = Verdict(Outcome.SETTLED)

OK_STATUS = range(200, 300)
REDIRECT_STATUS = range(300, 400)
SERVER_ERROR_STATUS = range(500, 600)
REQUEST_TIMEOUT, TOO_LARGE, TOO_MANY_REQUESTS = 408, 413, 429
NO_SUCH_SERVICE, UNSUPPORTED_TYPE = (404, 415), 415  # CBOR may be the reason
JSON_OBJECT = b"{"  # no map of CBOR begins with it, whatever the headers say
MAX_DOUBLINGS = 60  # of a wait; the cap is reached long before, and 2.0 ** 1024 overflows
MAX_CODE, MAX_MESSAGE = 200, 500  # characters; cut before any pattern looks at the text
MAX_QUOTED = 200  # characters of a response that a reason quotes

THROTTLE_CODES: Final = frozenset(
    {
        "KMSThrottlingException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
PASSING_CODES: Final = frozenset(
    {"InternalFailure", "InternalFailureException", "ServiceUnavailable"}
)
CONTENT_CODES: Final = frozenset(
    {"InvalidArgumentException", "ValidationError", "ValidationException"}
)
SIZE_CODES: Final = frozenset(
    {"RequestEntityTooLarge", "RequestEntityTooLargeException", "RequestTooLarge"}
)
# The service cannot read the request, or does not see what it is about.
UNREADABLE_CODES: Final = frozenset({"SerializationException", "UnknownOperationException"})

THROTTLE_HINT: Final = "the stream is at its limit: add shards, or spread the partition keys"
SERVICE_HINT: Final = "the service has a problem of its own, which usually passes"
NOT_KINESIS_HINT: Final = "this response is not from Kinesis: check endpoint and proxy"
KEY_HINT: Final = "check the KMS key of the stream and the permission kms:GenerateDataKey"
EXPIRED_HINT: Final = "the credentials have expired: renew them, or use a role, which renews itself"
WRONG_KEY_HINT: Final = "these credentials are not valid: check access key, secret key and profile"
CLOCK_HINT: Final = "check the secret key, the option region and the clock of this machine"

HINTS: Final[Mapping[str, str]] = {
    "AccessDenied": "allow kinesis:PutRecords on the stream for these credentials",
    "AccessDeniedException": "allow kinesis:PutRecords on the stream for these credentials",
    "ExpiredToken": EXPIRED_HINT,
    "ExpiredTokenException": EXPIRED_HINT,
    "IncompleteSignature": CLOCK_HINT,
    "IncompleteSignatureException": CLOCK_HINT,
    "InvalidAccessKeyId": WRONG_KEY_HINT,
    "InvalidClientTokenId": WRONG_KEY_HINT,
    "InvalidSignatureException": CLOCK_HINT,
    "KMSAccessDeniedException": KEY_HINT,
    "KMSDisabledException": "enable the KMS key of the stream",
    "KMSInvalidStateException": "the KMS key of the stream cannot be used: see its status",
    "KMSNotFoundException": "the KMS key of the stream does not exist, or no longer",
    "KMSOptInRequired": "subscribe the account to KMS",
    "MissingAuthenticationToken": WRONG_KEY_HINT,
    "MissingAuthenticationTokenException": WRONG_KEY_HINT,
    "NotAuthorized": "allow kinesis:PutRecords on the stream for these credentials",
    "OptInRequired": "subscribe the account to Kinesis, or enable the region for it",
    "RequestExpired": CLOCK_HINT,
    "RequestTimeTooSkewed": CLOCK_HINT,
    "ResourceInUseException": "the stream is being created or deleted: wait until it is active",
    "ResourceNotFoundException": "no such stream in this account: check stream, region, role_arn",
    "SignatureDoesNotMatch": CLOCK_HINT,
    "UnknownOperationException": NOT_KINESIS_HINT,
    "UnrecognizedClientException": WRONG_KEY_HINT,
}
KNOWN_CODES: Final = THROTTLE_CODES | PASSING_CODES | CONTENT_CODES | SIZE_CODES | HINTS.keys()
REDIRECT_HINT: Final = "the endpoint has moved: check endpoint"
STREAM_HINT: Final = "check the option stream: a name of [a-zA-Z0-9_.-]{1,128} or a stream ARN"

ANY_VALUE = re.compile(r"\bvalue '.*?' at '", re.IGNORECASE | re.DOTALL)
STREAM_MEMBER = re.compile(r"stream[ _]?(name|arn|id)\b", re.IGNORECASE)
SIZE_COMPLAINT = re.compile(r"exceed.*\b(size|bytes|[km]i?b)\b|\bsize\b.*exceed|too large", re.I)


def classify(response: Response, n_entries: int) -> Verdict:
    """Tell what a response to PutRecords means.

    Args:
        response: as it came.
        n_entries: number of entries in the request, at least 1.
    """
    if response.status not in OK_STATUS:
        verdict = _classify_error(response)
    elif all_accepted(response.body, n_entries) or _all_accepted_cbor(response, n_entries):
        verdict = SETTLED
    else:
        verdict = _classify_entries(response, n_entries)
    n_sent = getattr(response, "n_sent", 1)  # a transport of a user's own may return any tuple
    return verdict if n_sent == 1 else verdict._replace(n_sent=n_sent)


def classify_exception(error: Exception) -> Verdict:
    """Tell what it means that there was no response.

    Args:
        error: what the transport raised; all but a NotSentError may pass.
    """
    is_unsent = isinstance(error, NotSentError)
    outcome = Outcome.BLOCKED if is_unsent else Outcome.RETRY_ALL
    reason = presentable(str(error))
    if not isinstance(error, TransportError):
        reason = f"{type(error).__name__}: {reason}"
    n_sent = getattr(error, "n_sent", 1)
    codes = {type(error).__name__: 1}
    return Verdict(outcome, reason=reason, n_sent=n_sent, is_for_all=is_unsent, codes=codes)


def pause_s(attempts: int, spent_s: float, random: Callable[[], float]) -> float | None:
    """Return how long to wait before the next attempt of a request within a flush.

    Args:
        attempts: attempts made so far, at least 1.
        spent_s: seconds since the first of them failed.
        random: returns a float from 0 up to, not including, 1.

    Returns:
        Seconds, or None when MAX_ATTEMPTS or RETRY_BUDGET_S allow no further attempt.
    """
    wait_s = backoff_s(attempts, BACKOFF_BASE_S, BACKOFF_CAP_S, random)
    if attempts >= MAX_ATTEMPTS or spent_s + wait_s > RETRY_BUDGET_S:
        return None
    return wait_s


def backoff_s(failures: int, base_s: float, cap_s: float, random: Callable[[], float]) -> float:
    """Draw a wait between 0 and a bound that doubles with every failure (full jitter).

    Args:
        failures: failures so far, at least 1.
        base_s: the bound after the first failure, seconds.
        cap_s: the highest bound, seconds.
        random: returns a float from 0 up to, not including, 1.
    """
    doublings = min(failures - 1, MAX_DOUBLINGS)
    return random() * min(cap_s, base_s * 2.0**doublings)


def halves(n_entries: int) -> tuple[range, range]:
    """Cut the indexes of a request of at least two entries into two parts, neither empty."""
    middle = n_entries // 2
    return range(middle), range(middle, n_entries)


def knows_cbor(response: Response) -> bool:
    """Tell whether a response is valid CBOR, and not about a request that cannot be read."""
    return (
        _has_cbor(response)
        and isinstance(_parsed(response), dict)
        and response.status not in NO_SUCH_SERVICE
        and _error_of(response)[0] not in UNREADABLE_CODES
    )


def is_sign_against_cbor(response: Response, *, is_known: bool) -> bool:
    """Tell whether the response to a request in CBOR shows that the service does not speak it.

    Args:
        response: as it came.
        is_known: whether the service has responded in CBOR before, or now.
    """
    if not is_known:
        return True
    is_error = response.status not in OK_STATUS
    return is_error and (
        response.status == UNSUPPORTED_TYPE or _error_of(response)[0] in UNREADABLE_CODES
    )


def _has_cbor(response: Response) -> bool:
    return is_cbor(response.headers) and not response.body.startswith(JSON_OBJECT)


def _all_accepted_cbor(response: Response, n_entries: int) -> bool:
    return is_cbor(response.headers) and all_accepted_cbor(response.body, n_entries)


def _classify_entries(response: Response, n_entries: int) -> Verdict:
    answer = _parsed(response)
    entries = answer.get("Records") if isinstance(answer, dict) else None
    if not isinstance(entries, list):
        return _unknown(f"HTTP 200, but not a response to PutRecords: {_quoted(response.body)}")
    if len(entries) != n_entries:
        found = counted(len(entries), "record")
        return _unknown(f"the response is about {found} instead of {n_entries}")
    failed = [index for index, entry in enumerate(entries) if not _accepted(entry)]
    if not failed:
        return SETTLED
    codes = Counter(_entry_code(entries[index]) for index in failed)
    throttled = any(code in THROTTLE_CODES for code in codes)
    refused = {
        index: f"{_entry_code(entries[index])}: {_entry_message(entries[index])}"
        for index in failed
        if _entry_code(entries[index]) in CONTENT_CODES | SIZE_CODES
    }
    is_refusal = len(refused) == n_entries
    explained = next((index for index in failed if index not in refused), failed[0])
    counts = ", ".join(f"{count} x {code}" for code, count in codes.most_common())
    return Verdict(
        Outcome.REFUSED if is_refusal else Outcome.PARTIAL,
        failed,
        throttled,
        f"{len(failed)} of {n_entries} records were not accepted ({counts}): "
        f"{_entry_message(entries[explained])}",
        THROTTLE_HINT if throttled else "" if refused else SERVICE_HINT,
        # Beside records that were accepted, the fault is in the record; otherwise it may be ours.
        refused=refused if len(failed) < n_entries else {},
        codes=codes,
    )


def _accepted(entry: Any) -> bool:
    """An entry is acknowledged by its sequence number, never by the mere absence of an error."""
    return (
        isinstance(entry, dict)
        and entry.get("ErrorCode") in (None, "")
        and isinstance(entry.get("SequenceNumber"), str)
        and bool(entry["SequenceNumber"])
    )


def _entry_code(entry: Any) -> str:
    code = entry.get("ErrorCode") if isinstance(entry, dict) else None
    return str(code)[:MAX_CODE] if code else "no sequence number"


def _entry_message(entry: Any) -> str:
    message = entry.get("ErrorMessage") if isinstance(entry, dict) else None
    return presentable(message)[:MAX_QUOTED] if message else "no message"


def _classify_error(response: Response) -> Verdict:
    status = response.status
    code, message = _error_of(response)
    reason = f"{code} (HTTP {status}): {message}" if code else f"HTTP {status}: {message}"
    if code and code not in KNOWN_CODES:
        reason = f"unrecognised error; the service says: {reason}"
    return _judged(status, code, message, reason)._replace(codes={code or f"HTTP-{status}": 1})


def _judged(status: int, code: str, message: str, reason: str) -> Verdict:
    if code in THROTTLE_CODES or status == TOO_MANY_REQUESTS:
        return Verdict(Outcome.RETRY_ALL, (), True, reason, THROTTLE_HINT)
    if code in PASSING_CODES or status in SERVER_ERROR_STATUS or status == REQUEST_TIMEOUT:
        return Verdict(Outcome.RETRY_ALL, reason=reason, hint=SERVICE_HINT)
    if _is_about_content(status, code, message):
        return Verdict(Outcome.REFUSED, reason=reason)
    hint = _blocking_hint(status, code)
    return Verdict(Outcome.BLOCKED, reason=reason, hint=hint, is_for_all=code in KNOWN_CODES)


def _is_about_content(status: int, code: str, message: str) -> bool:
    if status == TOO_LARGE or code in SIZE_CODES:
        return True
    if code in CONTENT_CODES:
        return not _names_stream(message)
    return code != "" and code not in HINTS and bool(SIZE_COMPLAINT.search(message))


def _blocking_hint(status: int, code: str) -> str:
    if status in REDIRECT_STATUS:
        return REDIRECT_HINT
    if code in CONTENT_CODES:
        return STREAM_HINT
    return HINTS.get(code, "") if code else NOT_KINESIS_HINT


def _names_stream(message: str) -> bool:
    """Tell whether a message is about the stream; the values that it quotes do not count."""
    return bool(STREAM_MEMBER.search(ANY_VALUE.sub("at '", message)))


def _error_of(response: Response) -> tuple[str, str]:
    """Return an error's code, without its namespace, and its message (JSON 1.1 protocol)."""
    parsed = _parsed(response)
    fields: dict[str, Any] = parsed if isinstance(parsed, dict) else {}
    code = fields.get("__type") or fields.get("code") or _header(response, "x-amzn-errortype")
    message = fields.get("message") or fields.get("Message") or _quoted(response.body)
    code = str(code)[-MAX_CODE:].rpartition("#")[2].partition(":")[0].strip()
    return code, str(message)[:MAX_MESSAGE]


def _header(response: Response, name: str) -> str:
    return next((str(v) for k, v in response.headers.items() if k.lower() == name), "")


def _unknown(reason: str) -> Verdict:
    """What became of the entries is not known, so they count as failed."""
    codes = {"UnknownResponse": 1}
    hint = NOT_KINESIS_HINT
    return Verdict(Outcome.RETRY_ALL, reason=reason, hint=hint, codes=codes, is_astray=True)


def _parsed(response: Response) -> Any:
    """Return a body in the form that its Content-Type tells; None if it is not in that form."""
    try:
        if _has_cbor(response):
            return decode_cbor(response.body)
        return json.loads(response.body)
    except (ValueError, RecursionError):
        return None


def _quoted(body: bytes) -> str:
    return body[:MAX_QUOTED].decode("utf-8", "replace") or "empty body"
