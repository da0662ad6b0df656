"""What is left out of botocore's data changes no endpoint."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import botocore
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, EndpointVariantError
from botocore.loaders import Loader
from botocore.regions import EndpointResolver
from chunks import output_config
from direct import GOOD
from loopback_settings import program_environment
from raw_server import RawServer

from kinesis_fast.transport import client, models
from kinesis_fast.transport.client import open_transport
from kinesis_fast.transport.direct.endpoint import find_endpoint

BODY = memoryview(b'{"Records":[],"StreamName":"logs"}')
TEXT = Path(botocore.BOTOCORE_ROOT, "data", "endpoints.json").read_text("utf-8")
ODD_REGIONS = (
    "xx-new-9",
    "us-new-9",
    "cn-new-9",
    "us-gov-new-9",
    "aws-global",
    "local",
    "fips-us-gov-west-1",
)


def regions() -> list[str]:
    partitions = json.loads(TEXT)["partitions"]
    return [*(region for partition in partitions for region in partition["regions"]), *ODD_REGIONS]


def resolved(resolver: EndpointResolver, host: str, region: str, **variant: bool) -> Any:
    try:
        return resolver.construct_endpoint(host, region, **variant)
    except EndpointVariantError as error:
        return str(error)


@pytest.mark.parametrize("host", models.HOSTS)
def test_lean_endpoints_resolve_as_all_do(host: str) -> None:
    data = models.lean_endpoints(TEXT)
    if data is None and '"services" : { }' in TEXT:
        pytest.skip("an old botocore has a partition without services, so all is read")
    lean, full = EndpointResolver(data), EndpointResolver(json.loads(TEXT))
    for region in regions():
        for fips in (False, True):
            for dual in (False, True):
                variant = {"use_fips_endpoint": fips, "use_dualstack_endpoint": dual}
                theirs = resolved(full, host, region, **variant)
                assert resolved(lean, host, region, **variant) == theirs


def shown(session: Any, loader: Loader, region: str, variant: dict[str, bool]) -> object:
    """What a client would do: URL, scope of the signature, and what its maker chose."""
    session.register_component("data_loader", loader)
    try:
        made = session.create_client(
            "kinesis",
            region_name=region,
            aws_access_key_id="A",
            aws_secret_access_key="s",
            config=Config(parameter_validation=False, **variant),
        )
    except EndpointVariantError as error:
        return str(error)
    with closing(made):
        try:
            endpoint = find_endpoint(made, "logs")
        except BotoCoreError as error:
            return str(error)
        head = endpoint.signer.head(client.PROBE_KEYS, 0, "", 0)
        scope = head.partition(b"Credential=")[2].partition(b",")[0]
        return endpoint.url, scope, made.meta.endpoint_url, made.meta.partition


def test_an_output_goes_where_a_plain_client_of_botocore_goes() -> None:
    full, lean = Loader(), models.LeanLoader(Loader().search_paths)
    partitions = json.loads(TEXT)["partitions"]
    firsts = [region for partition in partitions for region in [*partition["regions"]][:1]]
    for region in [*firsts, *ODD_REGIONS]:
        for variant in ({}, {"use_fips_endpoint": True}, {"use_dualstack_endpoint": True}):
            theirs = shown(botocore.session.Session(), full, region, variant)
            assert shown(models.new_session(None), lean, region, variant) == theirs


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        json.dumps(json.loads(TEXT)),
        TEXT.replace('\n      "kinesis" : {', '\n      "kinesis": {'),
        TEXT.replace('\n    "services" : {', '\n    "services" :  {', 1),
        TEXT[:-100],
    ],
)
def test_a_file_of_another_form_is_read_as_a_whole(text: str) -> None:
    assert models.lean_endpoints(text) is None


def test_only_services_in_use_are_looked_for() -> None:
    loader = models.LeanLoader(Loader().search_paths)
    full = Loader()
    in_use = set(models.SERVICES) & set(full.list_available_services("service-2"))
    assert set(loader.list_available_services("service-2")) == in_use
    assert in_use >= {"kinesis", "sts"}
    for service in in_use:
        theirs = full.load_service_model(service, "service-2")
        assert loader.load_service_model(service, "service-2") == theirs


def test_handlers_of_the_services_in_use_are_there() -> None:
    assert models.is_of_use("choose-signer.sts.AssumeRoleWithWebIdentity")
    assert models.is_of_use("before-parse.sso-oidc.*")
    assert models.is_of_use("request-created")
    assert models.is_of_use("before-call.*.X")
    assert not models.is_of_use("before-call.s3")
    assert not models.is_of_use("docs.*.kinesis.PutRecords.complete-section")


def test_a_start_and_a_flush_make_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    create = client._create_client

    def counted(*arguments: Any) -> Any:
        made.append(create(*arguments))
        return made[-1]

    monkeypatch.setattr(client, "_create_client", counted)
    with RawServer(lambda _: GOOD) as server:
        transport = open_transport(output_config(endpoint=server.url))
        assert transport.send(BODY, 1, None).status == 200
        transport.close()
    assert len(made) == 1
    assert "Credential=ENVKEY/" in server.arrived[0].headers["authorization"]


def test_the_probe_waits_for_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are looked up by a session of their own, at each attempt."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    sources = client._Sources(output_config())
    assert sources.why_not_direct() is None
    first = sources.open()
    assert first.credentials is None
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NEWKEY")
    second = sources.open()
    assert second.client is first.client
    assert second.credentials.get_frozen_credentials().access_key == "NEWKEY"
    assert sources.open().client is not first.client


DOCS = """
import sys, inspect
import kinesis_fast
assert "botocore.docs" not in sys.modules
import botocore.session
client = botocore.session.Session().create_client(
    "kinesis", region_name="us-east-1", aws_access_key_id="A", aws_secret_access_key="s"
)
assert "PartitionKey" in inspect.getdoc(client.put_records)
assert "botocore.docs.service" in sys.modules
from botocore.docs import generate_docs
"""
FALL_BACK = """
import sys
sys.modules["botocore"] = __import__("botocore")
from importlib import util
real = util.find_spec
util.find_spec = lambda name: None
import kinesis_fast
assert "botocore.docs" in sys.modules
"""


@pytest.mark.parametrize("program", [DOCS, FALL_BACK])
def test_docstrings_of_botocore_are_still_there(program: str) -> None:
    command = [sys.executable, "-P", "-c", program]
    subprocess.run(command, env=program_environment(), check=True)
