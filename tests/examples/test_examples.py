"""The examples parse, use options that exist, and run."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_transport import entries_answer
from fluent_bit_process import binary
from raw_server import Arrived, RawServer, http

from kinesis_fast import OutputConfig
from kinesis_fast.cli.plugin_path import library
from kinesis_fast.local.kinesis import LocalKinesis

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PLUGIN = "/opt/kinesis-fast/out_kinesis.so"
# What Fluent Bit itself takes of an output.
OF_FLUENT_BIT = {"name", "match", "workers", "retry_limit"}


def manifests() -> list[dict[str, Any]]:
    text = (EXAMPLES / "kubernetes/daemonset.yaml").read_text()
    return [each for each in yaml.safe_load_all(text) if each]


def manifest(kind: str) -> dict[str, Any]:
    (found,) = [each for each in manifests() if each["kind"] == kind]
    return found


def configurations() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each configuration of Fluent Bit."""
    for path in sorted(EXAMPLES.glob("*/fluent-bit.yaml")):
        yield path.parent.name, path.read_text()
    yield "kubernetes", manifest("ConfigMap")["data"]["fluent-bit.yaml"]


CONFIGURATIONS = dict(configurations())


def outputs() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the options of each output, as Fluent Bit passes them: strings."""
    for name, text in CONFIGURATIONS.items():
        for number, output in enumerate(yaml.safe_load(text)["pipeline"]["outputs"]):
            yield f"{name}-{number}", output
    task = json.loads((EXAMPLES / "ecs/task-definition.json").read_text())
    for container in task["containerDefinitions"]:
        if "logConfiguration" in container:
            yield f"ecs-{container['name']}", container["logConfiguration"]["options"]


def as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("options", [pytest.param(o, id=name) for name, o in outputs()])
def test_the_options_of_each_output_are_right(options: dict[str, Any]) -> None:
    given = {name.lower(): as_text(value) for name, value in options.items()}
    assert given["name"] == "kinesis"
    assert given["workers"] == "1"
    assert given["retry_limit"] == "no_limits"
    config = OutputConfig.from_options(
        {name: value for name, value in given.items() if name not in OF_FLUENT_BIT}
    )
    assert config.region == "eu-west-1"
    assert config.warnings() == []


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_each_configuration_loads_the_plugin(name: str) -> None:
    configuration = yaml.safe_load(CONFIGURATIONS[name])
    assert configuration["plugins"] == [PLUGIN]
    tags = {each.get("tag") for each in configuration["pipeline"]["inputs"]}
    assert {each["match"] for each in configuration["pipeline"]["outputs"]} == tags


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_fluent_bit_accepts_each_configuration(name: str, tmp_path: Path) -> None:
    program = binary()
    if program is None:
        pytest.skip("Fluent Bit was not found: set FLUENT_BIT=/path/to/fluent-bit")
    text = CONFIGURATIONS[name].replace(PLUGIN, str(library()))
    text = text.replace("/var/lib/fluent-bit", str(tmp_path))
    pipeline = yaml.safe_load(text)["pipeline"]
    needed = {each["name"] for kind in ("inputs", "filters") for each in pipeline.get(kind, [])}
    known = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    missing = sorted(plugin for plugin in needed if f"  {plugin} " not in known)
    if missing:
        pytest.skip(f"this Fluent Bit was built without {', '.join(missing)}")
    path = tmp_path / "fluent-bit.yaml"
    path.write_text(text)
    done = subprocess.run(
        [program, "--dry-run", "-c", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "configuration test is successful" in done.stdout + done.stderr


def test_the_daemonset_has_what_its_configuration_needs() -> None:
    pod = manifest("DaemonSet")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert set(mounts.values()) == volumes.keys()
    (output,) = yaml.safe_load(CONFIGURATIONS["kubernetes"])["pipeline"]["outputs"]
    for option in ("spool_dir", "dead_letter_dir"):
        assert str(Path(output[option]).parent) in mounts
    assert "hostPath" in volumes[mounts[str(Path(output["spool_dir"]).parent)]]
    account = manifest("ServiceAccount")["metadata"]
    assert pod["serviceAccountName"] == account["name"]
    assert "eks.amazonaws.com/role-arn" in account["annotations"]
    assert manifest("ClusterRoleBinding")["subjects"][0]["name"] == account["name"]
    service = yaml.safe_load(CONFIGURATIONS["kubernetes"])["service"]
    assert pod["terminationGracePeriodSeconds"] > service["grace"] + 5


def test_the_task_starts_the_router_first_and_ends_it_last() -> None:
    task = json.loads((EXAMPLES / "ecs/task-definition.json").read_text())
    router, *others = task["containerDefinitions"]
    assert router["firelensConfiguration"]["type"] == "fluentbit"
    assert PLUGIN in router["command"]
    for container in others:
        assert container["logConfiguration"]["logDriver"] == "awsfirelens"
        assert container["dependsOn"][0]["containerName"] == router["name"]


def test_the_script_of_systemd_is_a_script() -> None:
    path = EXAMPLES / "systemd/install.sh"
    assert os.access(path, os.X_OK)
    assert subprocess.run(["sh", "-n", path], check=False).returncode == 0
    named = set(path.read_text().split())
    assert {"fluent-bit.yaml", "kinesis-fast.conf"} <= named


def test_the_program_sends_its_events() -> None:
    def respond(arrived: Arrived) -> bytes:
        return http(200, entries_answer([None] * arrived.body.count(b'"Data"')).body)

    with RawServer(respond) as server:
        done = subprocess.run(
            [sys.executable, EXAMPLES / "library/send_events.py", "eu-west-1", "logs", server.url],
            env=LocalKinesis.environment(),
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout == "1000 records delivered\n"
    assert sum(arrived.body.count(b'"Data"') for arrived in server.arrived) == 1000
