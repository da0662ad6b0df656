"""Masks secrets in texts that other libraries and the peer write. Nothing else masks them.

This module learns every secret of the process when it is found: keys and tokens when credentials
are looked up, passwords of URLs and the rest when a transport is opened. Texts are cut before
they are searched, and each search takes time in proportion to the text.
"""

import base64
import contextlib
import json
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, quote_plus, unquote, urlsplit
from urllib.request import getproxies

from kinesis_fast.limits import KIB
from kinesis_fast.transport import Response, is_cbor
from kinesis_fast.transport.direct.response import Headers

MASK: Final = "***"
MAX_TEXT: Final = 500  # characters of a text that go into an error
MAX_LOOKED_AT: Final = 8 * KIB  # characters of a text that are searched for secrets
MAX_TRACEBACK: Final = 32 * KIB  # characters of a traceback, counted from its end
MAX_ERROR_BODY: Final = 64 * KIB  # bytes of an error response that are kept as they are
MAX_MEMBER: Final = 1 * KIB  # characters of each member that is kept of a longer one
LEAST_SECRET: Final = 4  # characters; masking a shorter one would tear words apart
MAX_SHORT: Final = 100  # characters of a form of a secret that is not masked in pieces
LEAST_ENCODED: Final = 5  # characters of base64
PIECE: Final = 8  # letters of a long secret that are masked by themselves
LEAST_IN_BODY: Final = 8  # characters; codes of errors stand there, which decide what to do
MAX_RENEWED: Final = 16  # secrets of credentials in use, and of some before them
OK, CLIENT_ERROR = 200, 400
ANSWER_HEAD: Final = 100  # bytes in which a response to PutRecords says what it is
NONE_FAILED: Final = b'"FailedRecordCount":0'
# The same names in CBOR, each after its head; and a failed count of 0.
CBOR_RECORDS: Final = b"gRecords"
CBOR_NONE_FAILED: Final = b"qFailedRecordCount\0"
ERROR_MEMBERS: Final = ("__type", "code", "message", "Message")  # of an error response
USER_INFO: Final = re.compile(r"//[^/@\s\"]+@")  # of a URL: it may be a password
WORD: Final = re.compile(r"[A-Za-z0-9]+")
# Names of entities in HTML, of the characters that secrets and their encodings consist of.
ENTITIES: Final = {
    **{
        "amp": "&",
        "apos": "'",
        "ast": "*",
        "bsol": "\\",
        "colon": ":",
        "comma": ",",
        "commat": "@",
    },
    **{
        "dollar": "$",
        "equals": "=",
        "excl": "!",
        "gt": ">",
        "hyphen": "-",
        "lowbar": "_",
        "lt": "<",
    },
    **{
        "num": "#",
        "percnt": "%",
        "period": ".",
        "plus": "+",
        "quest": "?",
        "quot": '"',
        "semi": ";",
    },
    **{"sol": "/", "AMP": "&", "GT": ">", "LT": "<", "QUOT": '"', "NewLine": "\n", "Tab": "\t"},
}
ESCAPE: Final = re.compile(
    r"\\u([0-9A-Fa-f]{4})|\\x([0-9A-Fa-f]{2})|%([0-9A-Fa-f]{2})|&#[xX]([0-9A-Fa-f]{1,8});"
    r"|&#([0-9]{1,8});|&(" + "|".join(ENTITIES) + r");|\\([rnt/\"'])"
)
DECIMAL, NAMED, BACKSLASH = 5, 6, 7  # groups of ESCAPE; the first four are hexadecimal
REPLACEMENT: Final = "\ufffd"  # for a code that is no character
CONTROLS: Final = {"r": "\r", "n": "\n", "t": "\t"}
PERCENT: Final = re.compile("%..")
VARIABLES: Final = (
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN"),
    *("AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_BEARER_TOKEN_KINESIS"),
)
URL_VARIABLES: Final = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS", "AWS_ENDPOINT_URL_STS")
TOKEN_FILES: Final = ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE")
# What libraries advise programmers of Python to do; it does not help the operator of an output.
FOREIGN_ADVICE: Final = (
    *("pip install", "certifi.", "create_default_context", "_create_unverified", "readthedocs"),
    *("python.org", "verify=", "check_hostname", "assert_hostname", "install certificates"),
)
SSL_SOURCE: Final = " (_ssl.c:"

# Lists, which threads may read and append to without a lock: a fork may copy a lock that is held.
_lasting: list[str] = []
_renewed: list[str] = []


def learn(*secrets: str | None) -> None:
    """Remember secrets of the configuration; empty and very short ones are left out."""
    _add(_lasting, secrets)


def learn_renewed(*secrets: str | None) -> None:
    """Remember secrets that others replace in time, such as the keys of a role."""
    _add(_renewed, secrets)
    del _renewed[:-MAX_RENEWED]


def _add(known: list[str], secrets: Iterable[str | None]) -> None:
    for secret in secrets:
        if secret and len(secret) >= LEAST_SECRET and secret not in known:
            known.append(secret)


def learn_urls(*urls: str | None) -> None:
    """Remember the passwords of URLs, and what a header of HTTP says instead of them."""
    for url in urls:
        try:
            user_info = urlsplit(url or "").netloc.rpartition("@")[0]
        except ValueError:
            continue
        user, _, password = user_info.partition(":")
        learn(password, unquote(password))
        if password:
            pair = f"{unquote(user)}:{unquote(password)}"
            learn(base64.b64encode(_bytes(pair)).decode())


def learn_environment() -> None:
    """Remember what the variables of AWS and of proxies hold, and the files that they name."""
    learn(*map(os.environ.get, VARIABLES))
    learn_urls(*map(os.environ.get, URL_VARIABLES), *getproxies().values())
    for path in map(os.environ.get, TOKEN_FILES):
        with contextlib.suppress(OSError, ValueError):
            learn_renewed(Path(path or "").read_text(encoding="utf-8").strip())


def _known() -> tuple[str, ...]:
    return (*_lasting, *_renewed)


def presentable(text: object) -> str:
    """Return a text of another library, fit for an error: short, masked, without its advice."""
    whole = str(text)
    shown = without_credentials(whole[:MAX_LOOKED_AT])
    if len(whole) > MAX_LOOKED_AT:  # the cut may have left the first part of a short secret
        shown = shown[:-MAX_SHORT]
    return _without_advice(shown)[:MAX_TEXT]


def failure_text() -> str:
    """Return the traceback of the exception that is being handled, fit for a log line: masked.

    It holds the texts of all exceptions that led to this one, which may be of other libraries.
    """
    whole = traceback.format_exc().strip()
    shown = without_credentials(whole[-MAX_TRACEBACK:])
    # The cut may have left the last part of a short secret.
    return shown if len(whole) <= MAX_TRACEBACK else shown[MAX_SHORT:]


def without_credentials(text: str) -> str:
    """Mask every known secret, and user and password of every URL; time grows with the length."""
    return USER_INFO.sub(f"//{MASK}@", masked(text))


def without_secrets(response: Response) -> Response:
    """Return a response in which no secret stands; that of a request without failures as it is.

    Of a long error response only the code and the beginning of the message are kept.
    """
    status, headers, body = response
    is_answer = status == OK and b'"Records"' in body[:ANSWER_HEAD]
    if is_answer and (NONE_FAILED in body[:ANSWER_HEAD] or b'"ErrorMessage"' not in body):
        return response
    if is_cbor(headers):
        return _cbor_without_secrets(response)
    if len(body) > MAX_ERROR_BODY and status >= CLIENT_ERROR:
        body = _shortened(body)
    if is_answer or len(body) > MAX_ERROR_BODY:  # for speed, only as they are
        for secret in _known():
            body = body.replace(_bytes(secret), MASK.encode())
    else:
        body = masked(body.decode("latin-1"), LEAST_IN_BODY).encode("latin-1")
    return response._replace(headers=_headers_without_secrets(headers), body=body)


def _cbor_without_secrets(response: Response) -> Response:
    """Do the same in CBOR, where a mask must not change the length of a text."""
    status, headers, body = response
    is_answer = status == OK and CBOR_RECORDS in body[:ANSWER_HEAD]
    if is_answer and CBOR_NONE_FAILED in body[:ANSWER_HEAD]:
        return response
    if is_answer or len(body) > MAX_ERROR_BODY:
        for secret in map(_bytes, _known()):
            body = body.replace(secret, b"*" * len(secret))
    else:
        text = masked(body.decode("latin-1"), LEAST_IN_BODY, keeps_length=True)
        body = text.encode("latin-1")
    return response._replace(headers=_headers_without_secrets(headers), body=body)


def _headers_without_secrets(headers: Mapping[str, str]) -> Mapping[str, str]:
    shown = {name: masked(str(value)[:MAX_LOOKED_AT]) for name, value in headers.items()}
    if any(MASK in value for value in shown.values()):
        return Headers([(_bytes(n), v.encode("latin-1", "replace")) for n, v in shown.items()])
    return headers


def masked(text: str, least: int = 0, *, keeps_length: bool = False) -> str:
    """Replace every known secret, and pieces of a long one, in any form that texts give it.

    Args:
        text: its length bounds the time.
        least: characters of the shortest secret to look for.
        keeps_length: whether a mask is as long as what it replaces.
    """
    known = _known()
    pieces = _pieces(known)
    forms = [form for form in _forms(known) if len(form) >= least]
    if pieces or forms:
        plain, starts, ends = _unescaped(text)
        found = list(_places_of_pieces(plain, pieces)) if pieces else []
        if len(plain) < len(text):
            found += _places_of_forms(plain, forms)
        places = sorted((starts[first], ends[end - 1]) for first, end in found)
        text = _without(text, places, keeps_length=keeps_length)
    for form in forms:
        text = text.replace(form, "*" * len(form) if keeps_length else MASK)
    return text


def _without(text: str, places: list[tuple[int, int]], *, keeps_length: bool) -> str:
    """Mask places, each from a start to an end and in their order; they may overlap."""
    shown, n_done = [], 0
    for start, end in places:
        if keeps_length:
            begin = max(start, n_done)
            shown += [text[n_done:begin], "*" * (end - begin)]
        elif start >= n_done:
            shown += [text[n_done:start], MASK]
        n_done = max(n_done, end)
    return "".join(shown) + text[n_done:]


def _unescaped(text: str) -> tuple[str, Sequence[int], Sequence[int]]:
    """Return a text with its escapes resolved, and where each character starts and ends."""
    plain: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    n_done = 0
    for found in ESCAPE.finditer(text):
        start, end = found.span()
        plain += [text[n_done:start], _character(found)]
        starts += range(n_done, start + 1)
        ends += [*range(n_done + 1, start + 1), end]
        n_done = end
    starts += range(n_done, len(text))
    ends += range(n_done + 1, len(text) + 1)
    return "".join(plain) + text[n_done:], starts, ends


def _character(escape: re.Match[str]) -> str:
    group = escape.lastindex or 0
    if group == NAMED:
        return ENTITIES[escape[NAMED]]
    if group == BACKSLASH:
        return CONTROLS.get(escape[BACKSLASH], escape[BACKSLASH])
    code = int(escape[group], 10 if group == DECIMAL else 16)
    return chr(code) if code <= sys.maxunicode else REPLACEMENT


def _places_of_pieces(plain: str, pieces: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Yield what has a piece of a secret in its letters, whatever stands between these."""
    letters, places = _letters(plain)
    first = end = 0  # of the letters of a place; none if end is 0
    for start in range(len(letters) - PIECE + 2):
        if letters[start : start + PIECE] in pieces:
            first, end = first if end else start, start + PIECE
        elif end and start >= end:
            yield places[first], places[end - 1] + 1
            end = 0
    if end:
        yield places[first], places[end - 1] + 1


def _places_of_forms(plain: str, forms: Iterable[str]) -> Iterator[tuple[int, int]]:
    for form in forms:
        start = plain.find(form)
        while start >= 0:
            yield start, start + len(form)
            start = plain.find(form, start + len(form))


def _letters(text: str) -> tuple[str, list[int]]:
    """Return the letters and digits of a text, and where each one stands."""
    words: list[str] = []
    places: list[int] = []
    for found in WORD.finditer(text):
        words.append(found[0])
        places += range(found.start(), found.end())
    return "".join(words), places


@lru_cache(maxsize=2)
def _pieces(secrets: tuple[str, ...]) -> frozenset[str]:
    """Return every run of PIECE letters of long secrets, also in base64 and in hexadecimal."""
    pieces: set[str] = set()
    for secret in filter(_is_long, secrets):
        for form in (secret, _unescaped(secret)[0], *_encoded(secret)):
            letters, _ = _letters(form)
            pieces.update(letters[i : i + PIECE] for i in range(len(letters) - PIECE + 1))
    return frozenset(pieces)


@lru_cache(maxsize=2)
def _forms(secrets: tuple[str, ...]) -> tuple[str, ...]:
    """Return how texts show short secrets, the longest first: one may be a part of another."""
    forms: set[str] = set()
    for secret in secrets:
        if not _is_long(secret):
            forms.update(form for form in _written(secret) if len(form) >= LEAST_SECRET)
            forms.update(form for form in _encoded(secret) if len(form) >= LEAST_ENCODED)
    return tuple(sorted(forms, key=len, reverse=True))


def _is_long(secret: str) -> bool:
    return len(_letters(secret)[0]) >= 2 * PIECE


def _written(secret: str) -> Iterator[str]:
    """Yield a secret as it stands, escaped, percent-encoded, and in one line."""
    data = _bytes(secret)
    escaped = json.dumps(secret)[1:-1]
    yield from (secret, repr(secret)[1:-1], repr(data)[2:-1], data.decode("latin-1"), escaped)
    yield escaped.replace("/", "\\/")
    for character in "+/=&<>'":
        escaped = escaped.replace(character, f"\\u{ord(character):04x}")
    yield escaped
    for encoded in (quote(data), quote(data, safe=""), quote_plus(data)):
        yield encoded
        yield PERCENT.sub(lambda found: found.group().lower(), encoded)
    yield " ".join(secret.split())
    yield "\r\n ".join(secret.split())


def _encoded(secret: str) -> Iterator[str]:
    """Yield a secret in hexadecimal, and in base64, wherever in the encoded text it begins."""
    data = _bytes(secret)
    yield from (data.hex(), data.hex().upper())
    for before in range(3):
        first, n_whole = -(-before * 4 // 3), (before + len(data)) // 3 * 4
        text = base64.b64encode(bytes(before) + data).decode()[first:n_whole]
        yield from (text, text.replace("+", "-").replace("/", "_"))


def _bytes(secret: str) -> bytes:
    return secret.encode("utf-8", "surrogateescape")


def _shortened(body: bytes) -> bytes:
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        return body[:MAX_ERROR_BODY]
    kept = {name: parsed[name][:MAX_MEMBER] for name in ERROR_MEMBERS if _is_text(parsed, name)}
    return json.dumps(kept).encode()


def _is_text(members: dict[str, Any], name: str) -> bool:
    return isinstance(members.get(name), str)


def _without_advice(text: str) -> str:
    start, mark, rest = text.partition(SSL_SOURCE)
    if mark:
        text = start + rest.partition(")")[2]
    sentences = text.split(". ")
    kept = [s for s in sentences if not any(mark in s.lower() for mark in FOREIGN_ADVICE)]
    return text if len(kept) == len(sentences) else ". ".join(kept)
