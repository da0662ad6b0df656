"""No log line, exception or repr contains a secret, whatever goes wrong."""

import base64
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from chunks import output_config
from fake_transport import entries_answer
from loopback_settings import program_environment
from outputs import numbered
from raw_server import Arrived, RawServer, http

from kinesis_fast import FlushResult, KinesisOutput
from kinesis_fast.delivery.context import Timing
from kinesis_fast.errors import ConfigError

ACCESS_KEY = "AKIDEXAMPLEOFATEST"
SECRET, TOKEN = "tell/NOBODY+secret+key0123456789", "tell/NOBODY+session+token=="
EXTERNAL_ID, PASSWORD = "tell-NOBODY-external", "tell-NOBODY-password"
SECRETS = (SECRET, TOKEN, EXTERNAL_ID, PASSWORD)
ROLE = "arn:aws:iam::123456789012:role/name"
BRISK = Timing(random=lambda: 0.001)

ANSWERS: dict[str, bytes | None] = {
    "accepted": http(200, entries_answer([None]).body),
    "denied": http(400, b'{"__type":"AccessDeniedException","message":"no"}'),
    "expired": http(400, b'{"__type":"ExpiredTokenException","message":"old"}'),
    "wrong signature": http(
        403, b'{"__type":"InvalidSignatureException","message":"The signature does not match"}'
    ),
    "500": http(500, b"<html>"),
    "closed": None,
    "no HTTP": b"\x1b[31mwhat?\r\n\r\n",
    "cut": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
}


@pytest.fixture(autouse=True)
def everything_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """Put secrets into the environment, and log everything, down to trace."""
    for name, value in program_environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("FLB_LOG_LEVEL", "trace")
    caplog.set_level(5, logger="kinesis_fast")
    yield
    logging.getLogger("kinesis_fast").setLevel(logging.NOTSET)


def spellings(secret: str) -> set[str]:
    """Return a secret as it is and in base64."""
    return {secret, base64.b64encode(secret.encode()).decode()}


def assert_silent(*texts: str) -> None:
    """Assert that no text is empty or contains a secret."""
    for text in texts:
        assert text
        for secret in SECRETS:
            for spelling in spellings(secret):
                assert spelling not in text


def everything_of(output: KinesisOutput) -> list[str]:
    """Return the reprs of an output and of all its parts."""
    parts = output._parts
    assert parts is not None
    held = [output, output._config, parts, parts.mode, parts.context, parts.own_transport]
    held += [value for one in held for value in getattr(one, "__dict__", {}).values()]
    return [text for one in held for text in (repr(one), str(one))]


@pytest.mark.parametrize(
    ("answer", "spooled"), [*((answer, False) for answer in ANSWERS), ("denied", True)]
)
@pytest.mark.parametrize("transport", ["direct", "botocore"])
def test_a_service_that_answers_anything(
    transport: str,
    spooled: bool,
    answer: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with RawServer(lambda _: ANSWERS[answer]) as server:
        url = server.url.replace("http://", f"http://user:{PASSWORD}@")
        spool = {"spool_dir": str(tmp_path / "spool"), "experimental_concurrency": "1"}
        patience_s = "0.3" if answer == "cut" else "30"  # the rest never arrives
        output = KinesisOutput(
            output_config(
                spool if spooled else {},
                endpoint=url,
                transport=transport,
                http_request_timeout=patience_s,
            ),
            timing=BRISK,
        )
        result = output.flush(numbered([1]), f"tag\x1b {answer}")
        if spooled:
            output.close(10)
        reprs = everything_of(output)
        output.close()
    # The secrets were in use: a request that was signed with them arrived.
    assert server.arrived[0].headers["x-amz-security-token"] == TOKEN
    assert ACCESS_KEY in server.arrived[0].headers["authorization"]
    assert (result is FlushResult.OK) is (spooled or answer == "accepted")
    streams = capfd.readouterr()
    assert_silent(caplog.text, *reprs)
    assert_silent(streams.out + streams.err + " ")
    assert "\x1b" not in caplog.text


@pytest.mark.parametrize("status", [200, 400, 403, 500])
@pytest.mark.parametrize("transport", ["direct", "botocore"])
def test_a_role_that_cannot_be_assumed(
    transport: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of the service for roles may quote the request."""
    asked: list[Arrived] = []

    def answer(request: Arrived) -> bytes:
        asked.append(request)
        return http(
            status,
            b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error>"
            b"</ErrorResponse>",
        )

    with RawServer(answer) as server:
        output = KinesisOutput(
            output_config(
                endpoint=server.url,
                sts_endpoint=server.url.replace("http://", f"http://user:{PASSWORD}@"),
                role_arn=ROLE,
                external_id=EXTERNAL_ID,
                transport=transport,
            ),
            timing=BRISK,
        )
        assert output.flush(numbered([1])) is FlushResult.RETRY
        reprs = everything_of(output)
        output.close()
    assert EXTERNAL_ID in asked[0].body.decode()
    assert "(RETRY)" in caplog.text
    assert_silent(caplog.text, *reprs)


@pytest.mark.parametrize(
    "options",
    [
        {"external_id": f"{EXTERNAL_ID} with a space"},
        {"endpoint": f"http://user:{PASSWORD}@host:port"},
        {"endpoint": f"ftp://user:{PASSWORD}@host"},
        {"endpoint": f"user:{PASSWORD}@host/?query"},
        {"sts_endpoint": f"https://user:{PASSWORD}@ho st"},
        {"external_id": EXTERNAL_ID, "role_arn": "no role"},
        {"external_id": EXTERNAL_ID, "endpoint": f"https://user:{PASSWORD}@host", "transport": "x"},
    ],
)
def test_options_that_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        output_config(options)
    assert_silent(*traceback.format_exception_only(caught.value), repr(caught.value))
