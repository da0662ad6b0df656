"""Checks a configuration against the service, without writing a record."""

import json
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import botocore
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from kinesis_fast.config import OutputConfig
from kinesis_fast.delivery.retry import HINTS, Verdict, classify, knows_cbor
from kinesis_fast.encoder import empty_cbor_body
from kinesis_fast.errors import ConfigError, TransportError
from kinesis_fast.limits import KIB
from kinesis_fast.transport import CBOR_TYPE, Response
from kinesis_fast.transport.client import make_client, open_session, open_transport
from kinesis_fast.transport.errors import NO_CREDENTIALS, explain, stream_parameter

TIMEOUT_S: Final = 10.0  # for one request to the service
# Hosts that are known to respect DryRun. Others may ignore it and write the record.
AWS_HOSTS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")
SHOWN_OF_KEY: Final = 4  # characters of the access key's id
USABLE: Final = ("ACTIVE", "UPDATING")
NOT_ALLOWED: Final = ("AccessDeniedException", "AccessDenied", "NotAuthorized")
IS_DRY_RUN: Final = "DryRunOperationException"
PROBE_KEY: Final = "kinesis-fast-doctor"


class State(Enum):
    """The mark of a line of the report."""

    OK = "ok"
    BAD = "bad"
    UNKNOWN = "-"  # could not be checked, or is only worth knowing


class Finding(NamedTuple):
    """One line of the report; advice says what to do when it is bad."""

    state: State
    subject: str
    text: str
    advice: str = ""


good: Final = partial(Finding, State.OK)
bad: Final = partial(Finding, State.BAD)
unknown: Final = partial(Finding, State.UNKNOWN)


def service_findings(config: OutputConfig) -> Iterator[Finding]:
    """Yield what is found; a failure ends the checks that depend on it."""
    config = replace(config, http_request_timeout=TIMEOUT_S)
    try:
        client = make_client(config)
    except ConfigError as error:
        yield bad("client", str(error))
        return
    except NO_CREDENTIALS as error:
        yield bad("credentials", str(explain(error)))
        return
    credentials = _credentials(config)
    yield credentials
    yield good("endpoint", f"{client.meta.endpoint_url} (region {config.region})")
    if credentials.state is State.OK:
        yield from _stream(client, config)


def _credentials(config: OutputConfig) -> Finding:
    """Where the credentials come from, and the end of the key's id, never the secret."""
    try:
        credentials = open_session(config).get_credentials()
        if credentials is None:
            raise NoCredentialsError
        key = credentials.get_frozen_credentials().access_key
    except (*NO_CREDENTIALS, ClientError) as error:
        return bad("credentials", str(explain(error)))
    text = f"from {credentials.method}, access key ...{key[-SHOWN_OF_KEY:]}"
    return good("credentials", text)


def _stream(client: Any, config: OutputConfig) -> Iterator[Finding]:
    target = stream_parameter(config.stream)
    try:
        summary = client.describe_stream_summary(**target)
    except ClientError as error:
        yield (denied := _description_refused(error))
        if denied.state is State.BAD:
            return
    except BotoCoreError as error:
        yield bad("stream", str(explain(error, client.meta.endpoint_url)))
        return
    else:
        yield from _about_stream(summary["StreamDescriptionSummary"], config)
    yield _put_records(client, target)
    if config.protocol == "cbor":
        yield _protocol(config)


def _description_refused(error: ClientError) -> Finding:
    if error.response["Error"]["Code"] in NOT_ALLOWED:
        text = "kinesis:DescribeStreamSummary is not allowed; sending does not need it"
        return unknown("stream", text)
    return _refused("stream", error)


def _about_stream(summary: dict[str, Any], config: OutputConfig) -> Iterator[Finding]:
    status = summary["StreamStatus"]
    text = f"{config.stream} is {status}, {summary['OpenShardCount']} open shards"
    usable = status in USABLE
    yield good("stream", text) if usable else bad("stream", text, HINTS["ResourceInUseException"])
    allowed = summary.get("MaxRecordSizeInKiB", 0) * KIB
    if allowed and config.max_record_size > allowed:
        text = f"max_record_size is {config.max_record_size}, the stream takes {allowed} bytes"
        yield bad("record size", text, "lower the option, or raise the limit of the stream")


def _put_records(client: Any, target: dict[str, str]) -> Finding:
    """Request a dry run, but only from a host that is known to support it."""
    cannot = "cannot be checked without writing a record: "
    if "DryRun" not in client.meta.service_model.operation_model("PutRecords").input_shape.members:
        text = f"botocore {botocore.__version__} does not support DryRun; install a newer one"
        return unknown("PutRecords", cannot + text)
    host = urlsplit(client.meta.endpoint_url).hostname or ""
    if not host.endswith(AWS_HOSTS):
        return unknown("PutRecords", f"{cannot}{host} may ignore DryRun")
    probe = {"Data": b"", "PartitionKey": PROBE_KEY}
    try:
        client.put_records(Records=[probe], DryRun=True, **target)
    except ClientError as error:
        if error.response["Error"]["Code"] == IS_DRY_RUN:
            return good("PutRecords", "allowed (dry run, nothing was written)")
        return _refused("PutRecords", error)
    except BotoCoreError as error:
        return bad("PutRecords", str(explain(error, client.meta.endpoint_url)))
    text = "allowed; DryRun was ignored, so an empty record may have been written"
    return good("PutRecords", text)


def _protocol(config: OutputConfig) -> Finding:
    """Send a request without records, which writes nothing; look at the form of the refusal."""
    try:
        transport = open_transport(config)
        try:
            body = memoryview(empty_cbor_body(config.stream))
            response = transport.send(body, 0, TIMEOUT_S, CBOR_TYPE)
        finally:
            transport.close()
    except (ConfigError, TransportError) as error:
        return unknown("protocol", f"whether the endpoint takes CBOR is not known: {error}")
    if knows_cbor(response):
        return good("protocol", "the endpoint takes CBOR")
    return unknown("protocol", "the endpoint takes no CBOR, so requests will be JSON")


def _refused(subject: str, error: ClientError) -> Finding:
    verdict = _verdict(error)
    return bad(subject, verdict.reason, verdict.hint)


def _verdict(error: ClientError) -> Verdict:
    """How a delivery would classify the same response."""
    said = error.response["Error"]
    body = json.dumps({"__type": said["Code"], "message": said["Message"]}).encode()
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return classify(Response(status, {}, body), 1)
