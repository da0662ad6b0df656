"""What the service itself says about a configuration, without writing a record."""

import json
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import botocore
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from kinesis_fast.config import OutputConfig
from kinesis_fast.delivery.retry import HINTS, Verdict, classify
from kinesis_fast.errors import ConfigError
from kinesis_fast.limits import KIB
from kinesis_fast.transport import Response
from kinesis_fast.transport.client import make_client, open_session
from kinesis_fast.transport.errors import NO_CREDENTIALS, explain

PATIENCE_S: Final = 10.0  # for one question to the service
# Hosts that are known to heed DryRun. Others may ignore it and write the record.
AWS_HOSTS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
SHOWN_OF_KEY: Final = 4  # characters of the access key's id
USABLE: Final = ("ACTIVE", "UPDATING")
NOT_ALLOWED: Final = ("AccessDeniedException", "AccessDenied", "NotAuthorized")
IS_DRY_RUN: Final = "DryRunOperationException"
PROBE_KEY: Final = "kinesis-fast-doctor"


class State(Enum):
    """How a line of the report is to be taken."""

    OK = "ok"
    BAD = "bad"
    UNKNOWN = "-"  # could not be tried, or is none of our business; no reason to worry


class Finding(NamedTuple):
    """One line of the report; advice is what to do when it is red."""

    state: State
    subject: str
    text: str
    advice: str = ""


def service_findings(config: OutputConfig) -> Iterator[Finding]:
    """Yield what is found, one by one; after a failure the questions that need it are left out."""
    config = replace(config, http_request_timeout=PATIENCE_S)
    try:
        client = make_client(config)
    except ConfigError as error:
        yield Finding(State.BAD, "client", str(error))
        return
    except NO_CREDENTIALS as error:
        yield Finding(State.BAD, "credentials", str(explain(error)))
        return
    credentials = _credentials(config)
    yield credentials
    yield Finding(State.OK, "endpoint", f"{client.meta.endpoint_url} (region {config.region})")
    if credentials.state is State.OK:
        yield from _stream(client, config)


def _credentials(config: OutputConfig) -> Finding:
    """Where they come from, and the end of the key's id, never the secret."""
    try:
        credentials = open_session(config).get_credentials()
        if credentials is None:
            raise NoCredentialsError
        key = credentials.get_frozen_credentials().access_key
    except (*NO_CREDENTIALS, ClientError) as error:
        return Finding(State.BAD, "credentials", str(explain(error)))
    text = f"from {credentials.method}, access key ...{key[-SHOWN_OF_KEY:]}"
    return Finding(State.OK, "credentials", text)


def _stream(client: Any, config: OutputConfig) -> Iterator[Finding]:
    target = {"StreamARN" if config.stream.startswith("arn:") else "StreamName": config.stream}
    try:
        answer = client.describe_stream_summary(**target)
    except ClientError as error:
        yield (denied := _description_refused(error))
        if denied.state is State.BAD:
            return
    except BotoCoreError as error:
        yield Finding(State.BAD, "stream", str(explain(error, client.meta.endpoint_url)))
        return
    else:
        yield from _about_stream(answer["StreamDescriptionSummary"], config)
    yield _put_records(client, target)


def _description_refused(error: ClientError) -> Finding:
    if error.response["Error"]["Code"] in NOT_ALLOWED:
        return Finding(
            State.UNKNOWN,
            "stream",
            "these credentials may not look at it (kinesis:DescribeStreamSummary); sending does "
            "not need that",
        )
    return _refused("stream", error)


def _about_stream(summary: dict[str, Any], config: OutputConfig) -> Iterator[Finding]:
    status = summary["StreamStatus"]
    usable = status in USABLE
    yield Finding(
        State.OK if usable else State.BAD,
        "stream",
        f"{config.stream} is {status}, {summary['OpenShardCount']} open shards",
        "" if usable else HINTS["ResourceInUseException"],
    )
    allowed = summary.get("MaxRecordSizeInKiB", 0) * KIB
    if allowed and config.max_record_size > allowed:
        yield Finding(
            State.BAD,
            "record size",
            f"max_record_size is {config.max_record_size}, the stream takes {allowed} bytes",
            "lower the option, or raise the limit of the stream",
        )


def _put_records(client: Any, target: dict[str, str]) -> Finding:
    """Ask for a dry run, and only where it is sure to be one."""
    cannot = "cannot be tried without writing a record: "
    if "DryRun" not in client.meta.service_model.operation_model("PutRecords").input_shape.members:
        text = f"{cannot}botocore {botocore.__version__} has no DryRun for it, a newer one has"
        return Finding(State.UNKNOWN, "PutRecords", text)
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    if not host.endswith(AWS_HOSTS):
        text = f"{cannot}nobody knows whether {host} heeds DryRun"
        return Finding(State.UNKNOWN, "PutRecords", text)
    probe = {"Data": b"", "PartitionKey": PROBE_KEY}
    try:
        client.put_records(Records=[probe], DryRun=True, **target)
    except ClientError as error:
        if error.response["Error"]["Code"] == IS_DRY_RUN:
            return Finding(State.OK, "PutRecords", "allowed (dry run, nothing was written)")
        return _refused("PutRecords", error)
    except BotoCoreError as error:
        return Finding(State.BAD, "PutRecords", str(explain(error, client.meta.endpoint_url)))
    text = "allowed; the answer was that of a real request, an empty record may have been written"
    return Finding(State.OK, "PutRecords", text)


def _refused(subject: str, error: ClientError) -> Finding:
    verdict = _verdict(error)
    return Finding(State.BAD, subject, verdict.reason, verdict.hint)


def _verdict(error: ClientError) -> Verdict:
    """What delivery would make of the same answer."""
    said = error.response["Error"]
    body = json.dumps({"__type": said["Code"], "message": said["Message"]}).encode()
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return classify(Response(status, {}, body), 1)
