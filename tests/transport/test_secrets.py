"""What errors and responses show: no secret in any form, nothing endless, no foreign advice."""

import base64
import html
import json
import re
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from chunks import output_config
from fake_transport import FakeTime
from outputs import numbered
from raw_server import Arrived, RawServer, http

from kinesis_fast import FlushResult, KinesisOutput, TransportError
from kinesis_fast.transport import NotSentError, Response, secrets
from kinesis_fast.transport.client import open_transport
from kinesis_fast.transport.direct import endpoint
from kinesis_fast.transport.errors import explain, is_outdated
from kinesis_fast.transport.secrets import MAX_TEXT, presentable, without_secrets

TOKEN = "FwoGZXIvYXdzEJr//////////wEaDH+k9Qz7bD2xYw==/" + "a1B2+c3D4/e5F6=" * 8
BODY = memoryview(b'{"Records":[],"StreamName":"logs"}')
HUGE = 128 * 1024


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_lasting", [])
    monkeypatch.setattr(secrets, "_renewed", [])


def shows(text: str, secret: str) -> bool:
    """Tell whether a text shows eight characters of a secret, also between other characters."""
    dense = re.sub(r"[^A-Za-z0-9]", "", text)
    letters = re.sub(r"[^A-Za-z0-9]", "", secret)
    return any(letters[i : i + 8] in dense for i in range(max(1, len(letters) - 7)))


def entities(text: str, form: str) -> str:
    """Return a text with all but letters and digits as numeric entities of HTML."""
    return re.sub("[^A-Za-z0-9]", lambda found: form.format(ord(found[0])), text)


NAMES = {"/": "&sol;", "+": "&plus;", "=": "&equals;"}
FORMS: dict[str, Callable[[str], str]] = {
    "raw": lambda s: s,
    "repr": repr,
    "repr of bytes": lambda s: repr(s.encode()),
    "json": json.dumps,
    "json with slashes escaped": lambda s: json.dumps(s).replace("/", "\\/"),
    "json for html": lambda s: json.dumps(s).replace("=", "\\u003d").replace("+", "\\u002b"),
    "percent": quote,
    "percent, all": lambda s: quote(s, safe=""),
    "percent, lower case": lambda s: re.sub("%..", lambda m: m[0].lower(), quote(s, safe="")),
    "form": quote_plus,
    "folded header": lambda s: re.sub(r"\s*\n\s*", "\r\n ", s),
    "folded lines": lambda s: "\n".join(s[i : i + 20] for i in range(0, len(s), 20)),
    "unfolded header": lambda s: " ".join(s.split()),
    "entities, hexadecimal": lambda s: entities(s, "&#x{:x};"),
    "entities, upper case": lambda s: entities(s, "&#X{:04X};"),
    "entities, decimal": lambda s: entities(s, "&#{};"),
    "entities, named": lambda s: re.sub("[/+=]", lambda m: NAMES[m[0]], s),
    "every character as an entity": lambda s: "".join(f"&#{ord(c)};" for c in s),
    "every character as \\u": lambda s: "".join(f"\\u{ord(c):04X}" for c in s),
    "every character as \\x": lambda s: "".join(f"\\x{ord(c):02x}" for c in s),
    "every character as %": lambda s: "".join(f"%{ord(c):02X}" for c in s),
    "mixed escapes": lambda s: json.dumps(s).replace("/", "\\/").replace("+", "&plus;"),
    "hexadecimal": lambda s: s.encode().hex(),
    "hexadecimal, upper case": lambda s: s.encode().hex().upper(),
    "escaped folds": lambda s: "\\r\\n ".join(s[i : i + 30] for i in range(0, len(s), 30)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "secret", [TOKEN, TOKEN[:60] + "\n" + TOKEN[60:], "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"]
)
def test_every_form_is_masked(secret: str, form: str) -> None:
    secrets.learn(secret)
    shown = presentable(f"a header is wrong: {FORMS[form](secret)}; so it is")
    assert not shows(html.unescape(shown), secret)
    around = re.fullmatch(r"a header is wrong: (.*)\*\*\*(.*); so it is", shown)
    assert around is not None
    assert len(around[1] + around[2]) <= len("b'&equals;'")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", ["pa+ss/wo=rd", "a&b<c>d", "SeCrEt/KeY+"])
def test_every_form_of_a_short_secret_is_masked(secret: str, form: str) -> None:
    secrets.learn(secret)
    shown = presentable(f"a password is wrong: {FORMS[form](secret)} so it is")
    assert re.fullmatch(r"a password is wrong: (b?['\"])?\*\*\*['\"]? so it is", shown)


def test_what_only_looks_like_an_escape_stays() -> None:
    secrets.learn(TOKEN, "sesame")
    text = r"&#99999999; &#x; &#; &nope; & %zz %4 \u12 \q &amp; 50%25 \n"
    assert presentable(text) == text


def test_a_secret_that_looks_escaped_itself() -> None:
    for secret in ("ab%41cd&amp;ef", r"ab\u0041cd\nef", "%41%42" * 20 + TOKEN):
        secrets.learn(secret)
        assert presentable(f"x {secret} y") in ("x *** y", "x ***= y", "x %***= y")


@pytest.mark.parametrize("secret", ["sesame", "shared-secret", "pa ss/wo+rd", "geheim\n", TOKEN])
@pytest.mark.parametrize("before", ["", "u:", "me:", "user:"])
def test_base64_is_masked_wherever_it_begins(secret: str, before: str) -> None:
    secrets.learn(secret)
    encoded = base64.b64encode(f"{before}{secret}, and more".encode()).decode()
    middle = base64.b64encode(secret.encode()).decode().rstrip("=")[:-2]
    assert middle not in presentable(encoded)
    assert "***" in presentable(f"Basic {encoded}")
    assert "***" in presentable(base64.urlsafe_b64encode(f"{before}{secret}".encode()).decode())


def test_a_secret_within_another_secret() -> None:
    secrets.learn("open", "open-sesame-and-more")
    assert presentable("x open-sesame-and-more open y") == "x *** *** y"


def test_short_words_are_left_alone() -> None:
    secrets.learn("s", "", None, "key")
    assert presentable("the secret keys") == "the secret keys"


def test_odd_characters_in_a_secret() -> None:
    secrets.learn("p\udcffword", "pässwörd")
    assert presentable("a p\udcffword b pässwörd") == "a *** b ***"


def test_the_secrets_of_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:open%2Fsesame@proxy:1")
    secrets.learn_urls("https://you:tulip@h.example", None, "https://[bad")
    secrets.learn_environment()
    basic = base64.b64encode(b"me:open/sesame").decode()
    text = presentable(f"open/sesame open%2Fsesame tulip {basic} http://a:b@h")
    assert text == "*** *** *** ***= http://***@h"


def test_tokens_in_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("bearer-of-a-pod\n")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(path))
    secrets.learn_environment()
    assert presentable("Authorization: bearer-of-a-pod") == "Authorization: ***"


def test_keys_that_were_renewed_are_forgotten_in_the_end() -> None:
    secrets.learn("external")
    for number in range(100):
        secrets.learn_renewed(f"key number {number}")
    assert len(secrets._renewed) == secrets.MAX_RENEWED
    assert presentable("external, key number 99") == "***, ***"


@pytest.mark.parametrize("n", [1, 400, 8190, 8200, HUGE])
def test_a_cut_leaves_no_part_of_a_secret(n: int) -> None:
    secrets.learn(TOKEN)
    text = TOKEN * 40 + "x" * n
    for start in range(0, len(TOKEN), 7):
        shown = presentable(text[start:].replace(TOKEN[:start], "", 1))
        assert len(shown) <= MAX_TEXT
        assert not shows(shown[200:], TOKEN)


@pytest.mark.parametrize("n", [1, 20, 32 * 1024 - 100, 32 * 1024 - 20, HUGE])
def test_a_traceback_shows_no_secret_and_is_cut_at_its_start(n: int) -> None:
    secrets.learn("short one", TOKEN)
    for before in range(0, 150, 13):
        try:
            try:
                raise ValueError(f"{TOKEN} short one" + "x" * (n + before))
            except ValueError as error:
                raise RuntimeError("https://user:pw@host is wrong") from error
        except RuntimeError:
            text = secrets.failure_text()
        assert text.endswith("RuntimeError: https://***@host is wrong")
        assert len(text) <= secrets.MAX_TRACEBACK
        assert not shows(text, TOKEN)
        assert "rt one" not in text


@pytest.mark.parametrize(
    "text",
    [
        "MissingDependency: log in with it. You will need to pip install botocore[crt] first.",
        "certificate verify failed. Use ssl.create_default_context(cafile=certifi.where())",
        "HTTPS needed. See: https://urllib3.readthedocs.io/en/latest/advanced-usage.html",
    ],
)
def test_advice_for_programmers_is_left_out(text: str) -> None:
    assert presentable(text) == text.partition(". ")[0]
    assert str(explain(RuntimeError(text))) == f"RuntimeError: {text.partition('. ')[0]}"


def test_the_line_of_pythons_source_is_left_out() -> None:
    assert presentable("[SSL] wrong (_ssl.c:1006) (h)") == "[SSL] wrong (h)"


# --- responses ---


def echo(arrived: Arrived) -> bytes:
    body = json.dumps({"message": f"no such header: {arrived.headers}", "__type": "Odd"}).encode()
    return http(400, body, X_Echo=arrived.headers["x-amz-security-token"])


def test_a_response_that_repeats_a_request(
    transport_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    with RawServer(echo) as server:
        transport = open_transport(output_config(endpoint=server.url, transport=transport_name))
        response = transport.send(BODY, 1, 10.0)
        assert server.arrived[0].headers["x-amz-security-token"] == TOKEN
        transport.close()
    assert json.loads(response.body)["__type"] == "Odd"
    assert not shows(response.body.decode(), TOKEN)
    assert response.headers["X-Echo"] == response.headers["x-echo"] == "***="


@pytest.mark.parametrize("status", [200, 400, 404, 500])
@pytest.mark.parametrize("n", [0, 300_000])
def test_any_response_that_repeats_a_request(status: int, n: int) -> None:
    secrets.learn(TOKEN)
    body = b"<html>" + TOKEN.encode() + b"x" * n
    assert TOKEN.encode() not in without_secrets(Response(status, {}, body)).body


def test_entries_that_repeat_a_request() -> None:
    secrets.learn(TOKEN)
    entry = {"ErrorCode": "InternalFailure", "ErrorMessage": f"token {TOKEN}"}
    body = json.dumps({"FailedRecordCount": 1, "Records": [entry]}).encode()
    masked = json.loads(without_secrets(Response(200, {}, body)).body)
    assert masked["Records"] == [{"ErrorCode": "InternalFailure", "ErrorMessage": "token ***"}]


def test_a_response_without_failures_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_known", lambda: pytest.fail("it was searched"))
    for head in (b'{"FailedRecordCount":0,"Records":[', b'{"Records":[{"SequenceNumber":"1"'):
        response = Response(200, {}, head + bytes(100_000))
        assert without_secrets(response) is response


def test_a_long_error_keeps_its_code_and_the_beginning_of_its_message() -> None:
    message = "a" * HUGE
    body = json.dumps({"more": message, "message": message, "__type": "ValidationException"})
    kept = json.loads(without_secrets(Response(400, {}, body.encode())).body)
    assert kept == {"__type": "ValidationException", "message": "a" * secrets.MAX_MEMBER}


# --- texts of other libraries, on each way in ---


@pytest.mark.parametrize("token", [TOKEN[:40] + "\n" + TOKEN[40:], TOKEN + "\r\n", "\n" + TOKEN])
def test_a_token_with_a_line_break(
    token: str,
    transport_name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    with RawServer(echo) as server:
        config = output_config(endpoint=server.url, transport=transport_name)
        with KinesisOutput(config, timing=FakeTime().timing()) as output:
            assert output.flush(numbered([1])) is FlushResult.RETRY
    assert "failed after" in caplog.text
    assert not shows(caplog.text, TOKEN)


def test_an_external_id_that_sts_repeats(transport_name: str) -> None:
    def sts(arrived: Arrived) -> bytes:
        text = f"no: {arrived.body.decode()}"
        return http(
            403,
            f"<ErrorResponse><Error><Code>No</Code><Message>{text.replace('&', ' ')}</Message>"
            "</Error></ErrorResponse>".encode(),
        )

    options = {"role_arn": "arn:aws:iam::123456789012:role/r", "external_id": "shared/secret"}
    with RawServer(sts) as server:
        config = output_config(options, sts_endpoint=server.url, transport=transport_name)
        transport = open_transport(config)
        with pytest.raises(NotSentError) as caught:
            transport.send(BODY, 1, 10.0)
        transport.close()
        assert "ExternalId=shared%2Fsecret" in server.arrived[0].body.decode()
    assert "ExternalId=***" in str(caught.value)


# --- hostile texts ---


HOSTILE: dict[str, Callable[[int], str]] = {
    "slashes": lambda n: "/" * n,
    "user-info without an end": lambda n: "//" + "a" * n,
    "many beginnings": lambda n: "//a" * (n // 3),
    "at": lambda n: "//@" * (n // 3),
    "pieces of a secret": lambda n: TOKEN[:-1] * (n // len(TOKEN)),
    "spaces": lambda n: " " * n,
    "sentences": lambda n: ". " * (n // 2),
    "percent": lambda n: "%" * n,
    "backslashes": lambda n: "\\" * n,
    "source": lambda n: " (_ssl.c:" * (n // 9),
    "ampersands": lambda n: "&#" * (n // 2),
    "an entity without an end": lambda n: "&#x" + "0" * n,
    "entities": lambda n: "&#47;" * (n // 5),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_texts_take_no_more_time_than_short_ones(kind: str) -> None:
    """Only the first characters are looked at, whatever follows."""
    secrets.learn(TOKEN)
    looked_at = HOSTILE[kind](secrets.MAX_LOOKED_AT + 100)
    started = time.process_time()
    shown = presentable(looked_at + HOSTILE[kind](HUGE))
    assert time.process_time() - started < 1
    assert shown == presentable(looked_at)


def test_a_text_is_cut_before_it_is_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    searched: list[str] = []

    def masked(text: str) -> str:
        searched.append(text)
        return text

    monkeypatch.setattr(secrets, "masked", masked)
    assert len(presentable("x" * HUGE)) == MAX_TEXT
    assert [len(text) for text in searched] == [secrets.MAX_LOOKED_AT]


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_responses(kind: str) -> None:
    secrets.learn(TOKEN)
    text = HOSTILE[kind](HUGE)
    started = time.process_time()
    for body in (text.encode(), json.dumps({"message": text, "__type": text}).encode()):
        response = without_secrets(Response(400, {"x-amzn-errortype": text}, body))
        assert len(response.body) <= secrets.MAX_ERROR_BODY
        assert not is_outdated(response)
    assert time.process_time() - started < 1


PATTERNS = (
    *(secrets.USER_INFO, secrets.WORD, secrets.ESCAPE, secrets.PERCENT),
    *(endpoint.CREDENTIAL, endpoint.PLAIN_URL),
)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.pattern[:20])
@pytest.mark.parametrize(
    "text",
    [
        *(make(HUGE) for make in HOSTILE.values()),
        "http://" + "a" * HUGE,
        "http://a/" + "%41" * (HUGE // 3) + "%",
        "http://a/" + "a" * HUGE + "?",
        "AWS4-HMAC-SHA256 Credential=" + "a" * HUGE,
        "AWS4-HMAC-SHA256 Credential=a/20260101/" + "a/" * (HUGE // 2),
        "AWS4-HMAC-SHA256 Credential=a/20260101/" + "a" * HUGE + "/b/aws4_reques",
    ],
    ids=range(19),
)
def test_no_pattern_is_superlinear(pattern: re.Pattern[str], text: str) -> None:
    """A pattern that is quadratic in 128 KiB takes minutes."""
    started = time.process_time()
    pattern.sub("", text)
    pattern.fullmatch(text)
    assert time.process_time() - started < 2


def test_an_error_with_an_endless_text() -> None:
    secrets.learn(TOKEN)
    tracemalloc.start()
    error = explain(OSError(5, "//" * HUGE))
    tracemalloc.stop()
    assert isinstance(error, TransportError)
    assert len(str(error)) < MAX_TEXT + 200
