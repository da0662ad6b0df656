"""Where the credentials come from: default chain, profile, roles through a fake STS."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from chunks import REQUIRED_OPTIONS, output_config
from fake_transport import entries_answer
from outputs import numbered
from raw_server import Arrived, RawServer, http

from kinesis_fast import ConfigError, FlushResult, KinesisOutput, TransportError
from kinesis_fast.transport import NotSentError, credentials
from kinesis_fast.transport.client import make_client, open_transport


@pytest.fixture(autouse=True, params=["direct", "botocore"])
def transport_name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let each test run with both transports, without saying so."""
    monkeypatch.setitem(REQUIRED_OPTIONS, "transport", str(request.param))
    return str(request.param)


BODY = memoryview(b'{"Records":[],"StreamName":"logs"}')
ROLE = "arn:aws:iam::123456789012:role/sender"
EKS_ROLE = "arn:aws:iam::123456789012:role/pod"
STS_ANSWER = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleResult>
  <AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn>
    <AssumedRoleId>A:s</AssumedRoleId></AssumedRoleUser>
  <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
    <SessionToken>token-of-{key}</SessionToken><Expiration>{expiration}</Expiration></Credentials>
</AssumeRoleResult></AssumeRoleResponse>"""
STS_ERROR = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>
<Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"""


class Sts:
    """Gives out KEY1, KEY2, ... for the roles it is asked for."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.asked_by: list[str] = []
        self.lifetime = timedelta(hours=1)
        self.error: tuple[int, str] | None = None

    def __call__(self, arrived: Arrived) -> bytes:
        form = {name: values[0] for name, values in parse_qs(arrived.body.decode()).items()}
        self.asked.append(form)
        self.asked_by.append(access_key(arrived))
        if self.error:
            status, code = self.error
            return http(status, STS_ERROR.format(code=code, message="you may not").encode())
        expiration = (datetime.now(UTC) + self.lifetime).strftime("%Y-%m-%dT%H:%M:%SZ")
        key = f"KEY{len(self.asked)}"
        return http(200, STS_ANSWER.format(key=key, expiration=expiration).encode())


def access_key(arrived: Arrived) -> str:
    return arrived.headers["authorization"].partition("Credential=")[2].partition("/")[0]


def kinesis(_: Arrived) -> bytes:
    return http(200, entries_answer([None]).body)


def test_role_with_external_id() -> None:
    sts = Sts()
    with RawServer(sts) as sts_server, RawServer(kinesis) as server:
        options = {"role_arn": ROLE, "external_id": "shared-secret"}
        config = output_config(options, endpoint=server.url, sts_endpoint=sts_server.url)
        with KinesisOutput(config) as output:
            assert sts.asked == []
            assert output.flush(numbered([1])) is FlushResult.OK
            assert output.flush(numbered([2])) is FlushResult.OK
    assert len(sts.asked) == 1
    assert sts.asked_by == ["ENVKEY"]
    assert sts.asked[0]["Action"] == "AssumeRole"
    assert sts.asked[0]["RoleArn"] == ROLE
    assert sts.asked[0]["ExternalId"] == "shared-secret"
    assert sts.asked[0]["RoleSessionName"] == "kinesis-fast"
    assert [access_key(arrived) for arrived in server.arrived] == ["KEY1", "KEY1"]
    assert server.arrived[0].headers["x-amz-security-token"] == "token-of-KEY1"


def test_the_eks_role_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EKS_POD_EXECUTION_ROLE", EKS_ROLE)
    sts = Sts()
    with RawServer(sts) as sts_server, RawServer(kinesis) as server:
        options = {"role_arn": ROLE, "external_id": "other"}
        config = output_config(options, endpoint=server.url, sts_endpoint=sts_server.url)
        transport = open_transport(config)
        assert transport.send(BODY, 1, None).status == 200
        transport.close()
    assert [form["RoleArn"] for form in sts.asked] == [EKS_ROLE, ROLE]
    assert [form.get("ExternalId") for form in sts.asked] == [None, "other"]
    assert sts.asked_by == ["ENVKEY", "KEY1"]
    assert access_key(server.arrived[0]) == "KEY2"


def test_the_eks_role_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EKS_POD_EXECUTION_ROLE", EKS_ROLE)
    sts = Sts()
    with RawServer(sts) as sts_server, RawServer(kinesis) as server:
        config = output_config(endpoint=server.url, sts_endpoint=sts_server.url)
        transport = open_transport(config)
        assert transport.send(BODY, 1, None).status == 200
        transport.close()
    assert [form["RoleArn"] for form in sts.asked] == [EKS_ROLE]
    assert access_key(server.arrived[0]) == "KEY1"


def test_roles_are_assumed_again_before_they_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "LOOK_UP_S", 0.0)
    sts = Sts()
    sts.lifetime = timedelta(minutes=5)  # less than botocore wants to be left
    with RawServer(sts) as sts_server, RawServer(kinesis) as server:
        config = output_config(role_arn=ROLE, endpoint=server.url, sts_endpoint=sts_server.url)
        transport = open_transport(config)
        for _ in range(2):
            assert transport.send(BODY, 1, None).status == 200
        transport.close()
    keys = [access_key(arrived) for arrived in server.arrived]
    assert len(set(keys)) == 2


def test_a_role_that_lives_briefly_is_not_assumed_for_every_request() -> None:
    sts = Sts()
    sts.lifetime = timedelta(minutes=5)
    with RawServer(sts) as sts_server, RawServer(kinesis) as server:
        config = output_config(role_arn=ROLE, endpoint=server.url, sts_endpoint=sts_server.url)
        transport = open_transport(config)
        for _ in range(20):
            assert transport.send(BODY, 1, None).status == 200
        transport.close()
    assert len(sts.asked) == 1


def test_a_process_whose_credentials_live_briefly_runs_once(
    aws_settings: Path, tmp_path: Path
) -> None:
    expiration = (datetime.now(UTC) + timedelta(minutes=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    keys = {"Version": 1, "AccessKeyId": "PROCESSKEY", "SecretAccessKey": "secret of a process"}
    told = tmp_path / "told"
    told.write_text(json.dumps(keys | {"SessionToken": "t", "Expiration": expiration}))
    script, runs = tmp_path / "script", tmp_path / "runs"
    script.write_text(f"echo run >> {runs}\ncat {told}\n")
    aws_settings.write_text(f"[profile logs]\ncredential_process = sh {script}\n")
    with RawServer(kinesis) as server:
        transport = open_transport(output_config(profile="logs", endpoint=server.url))
        for _ in range(20):
            assert transport.send(BODY, 1, None).status == 200
        transport.close()
    assert access_key(server.arrived[-1]) == "PROCESSKEY"
    assert runs.read_text().count("run") == 1


@pytest.mark.parametrize(
    "code",
    ["ExpiredToken", "InvalidClientTokenId", "SignatureDoesNotMatch"],
)
def test_source_keys_that_were_replaced_are_read_again(code: str, aws_settings: Path) -> None:
    """The keys in the file that may assume the role; a session reads the file once."""
    profile = "[profile logs]\naws_access_key_id = {}\naws_secret_access_key = s\n"
    sts = Sts()
    with RawServer(sts) as sts_server, RawServer(kinesis) as server:
        options = {"profile": "logs", "role_arn": ROLE, "sts_endpoint": sts_server.url}
        aws_settings.write_text(profile.format("OLDKEY"))
        transport = open_transport(output_config(options, endpoint=server.url))
        sts.lifetime = timedelta(seconds=5)  # so each request looks up the role
        assert transport.send(BODY, 1, None).status == 200
        sts.error = (403, code)
        with pytest.raises(NotSentError, match=r"source credentials.*have expired") as caught:
            transport.send(BODY, 1, None)
        assert caught.value.n_sent == 0
        aws_settings.write_text(profile.format("NEWKEY"))
        sts.error = None
        assert transport.send(BODY, 1, None).status == 200
        transport.close()
    assert set(sts.asked_by[:-1]) <= {"OLDKEY", "NEWKEY"}
    assert sts.asked_by[0] == "OLDKEY"
    assert sts.asked_by[-1] == "NEWKEY"


@pytest.mark.parametrize(
    ("error", "kind", "advice"),
    [
        ((403, "AccessDenied"), NotSentError, "trust policy"),
        ((400, "ExpiredTokenException"), NotSentError, "source credentials"),
        ((407, "Denied"), NotSentError, "the proxy requires a user and a password"),
        ((503, "ServiceUnavailable"), TransportError, "STS is busy"),
        ((400, "Throttling"), TransportError, "STS is busy"),
    ],
)
def test_sts_refuses(
    error: tuple[int, str], kind: type[TransportError], advice: str, caplog: Any
) -> None:
    sts = Sts()
    sts.error = error
    with RawServer(sts) as sts_server, RawServer(kinesis) as server:
        config = output_config(role_arn=ROLE, endpoint=server.url, sts_endpoint=sts_server.url)
        transport = open_transport(config)
        with pytest.raises(TransportError, match=advice) as caught:
            transport.send(BODY, 1, None)
        assert type(caught.value) is kind
        assert len(sts.asked) == 1
        assert server.arrived == []
        sts.error = None
        assert transport.send(BODY, 1, None).status == 200
        transport.close()


def test_profile(aws_settings: Path) -> None:
    aws_settings.write_text(
        "[profile logs]\naws_access_key_id = PROFILEKEY\naws_secret_access_key = s\n"
    )
    with RawServer(kinesis) as server:
        transport = open_transport(output_config(profile="logs", endpoint=server.url))
        transport.send(BODY, 1, None)
        transport.close()
    assert access_key(server.arrived[0]) == "PROFILEKEY"


def test_the_option_profile_overrules_the_variable(
    aws_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws_settings.write_text("[profile logs]\nregion = us-east-1\n")
    monkeypatch.setenv("AWS_PROFILE", "nope")
    KinesisOutput(output_config(profile="logs")).close()


def test_unknown_profile(aws_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aws_settings.write_text("[profile logs]\nregion = us-east-1\n[profile more]\n")
    message = r".*\(nope\).*known profiles: logs, more"
    with pytest.raises(ConfigError, match="option profile" + message):
        KinesisOutput(output_config(profile="nope"))
    monkeypatch.setenv("AWS_PROFILE", "nope")
    with pytest.raises(ConfigError, match="environment variable AWS_PROFILE" + message):
        KinesisOutput(output_config())


def test_broken_config_file(aws_settings: Path) -> None:
    aws_settings.write_text("[profile logs\n")
    with pytest.raises(ConfigError, match="Unable to parse config file"):
        KinesisOutput(output_config(profile="logs"))


def test_an_impossible_region() -> None:
    with pytest.raises(ConfigError, match="region"):
        KinesisOutput(output_config(region="us-east-1/../x"))


@pytest.mark.parametrize("process", ["/no/such/program", "echo garbage", "true"])
def test_a_credential_process_that_fails(
    aws_settings: Path, caplog: pytest.LogCaptureFixture, process: str
) -> None:
    aws_settings.write_text(f"[profile logs]\ncredential_process = {process}\n")
    with KinesisOutput(output_config(profile="logs")) as output:
        assert output.flush(numbered([1])) is FlushResult.RETRY
    assert "check" in caplog.text
    assert "credential_process" in caplog.text


def test_a_source_of_credentials_that_fails_is_asked_again(aws_settings: Path) -> None:
    aws_settings.write_text("[profile logs]\ncredential_process = false\n")
    with RawServer(kinesis) as server:
        transport = open_transport(output_config(profile="logs", endpoint=server.url))
        with pytest.raises(NotSentError, match=r"CredentialRetrievalError.*check credentials"):
            transport.send(BODY, 1, None)
        keys = "aws_access_key_id = NEWKEY\naws_secret_access_key = s\n"
        aws_settings.write_text(f"[profile logs]\n{keys}")
        assert transport.send(BODY, 1, None).status == 200
        transport.close()
    assert access_key(server.arrived[0]) == "NEWKEY"


@pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException"])
def test_credentials_that_were_renewed_are_found(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handler(arrived: Arrived) -> bytes:
        if access_key(arrived) == "ENVKEY":
            return http(400, f'{{"__type":"{code}"}}'.encode())
        return kinesis(arrived)

    with RawServer(handler) as server:
        transport = open_transport(output_config(endpoint=server.url))
        assert transport.send(BODY, 1, None).status == 400
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NEWKEY")
        assert transport.send(BODY, 1, None).status == 200
        transport.close()


def test_role_of_a_profile_with_a_role(aws_settings: Path) -> None:
    """The profile's credentials are the source for role_arn."""
    aws_settings.write_text(
        "[profile logs]\naws_access_key_id = PROFILEKEY\naws_secret_access_key = s\n"
    )
    sts = Sts()
    with RawServer(sts) as sts_server, RawServer(kinesis) as server:
        options = {"profile": "logs", "role_arn": ROLE}
        config = output_config(options, endpoint=server.url, sts_endpoint=sts_server.url)
        transport = open_transport(config)
        transport.send(BODY, 1, None)
        transport.close()
    assert sts.asked_by == ["PROFILEKEY"]


def test_endpoints_are_botocores() -> None:
    def url(region: str) -> Any:
        client = make_client(output_config(region=region))
        client.close()
        return client.meta.endpoint_url

    assert url("eu-central-1") == "https://kinesis.eu-central-1.amazonaws.com"
    assert url("cn-north-1") == "https://kinesis.cn-north-1.amazonaws.com.cn"


def test_fips_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_USE_FIPS_ENDPOINT", "true")
    client = make_client(output_config(region="us-east-1"))
    assert client.meta.endpoint_url == "https://kinesis-fips.us-east-1.amazonaws.com"
    client.close()


def test_the_client_neither_retries_nor_validates() -> None:
    with RawServer(kinesis) as server:
        client = make_client(output_config(http_request_timeout="9", endpoint=server.url))
        client.put_records(StreamName="not/valid")  # and without Records
    assert client.meta.config.retries["total_max_attempts"] == 1
    assert (client.meta.config.connect_timeout, client.meta.config.read_timeout) == (9.0, 9.0)
    client.close()


def test_no_credentials_for_the_role(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    transport = open_transport(output_config(role_arn=ROLE))
    with pytest.raises(NotSentError, match="NoCredentialsError"):
        transport.send(BODY, 1, None)
    transport.close()
