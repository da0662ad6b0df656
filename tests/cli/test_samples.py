"""The samples of the demo: tools/make_samples.py makes them from golden files alone."""

import gzip
import importlib.util
import json
import re
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from chunks import load_chunk, load_golden

from kinesis_fast.cli.expectation import load_samples

TOOL = Path(__file__).parents[2] / "tools" / "make_samples.py"
MAX_BYTES = 400_000


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """The program that makes the samples."""
    spec = importlib.util.spec_from_file_location("make_samples", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def contents(directory: Any) -> dict[str, bytes]:
    """Return the files of a directory, unpacked."""
    found = {}
    for path in directory.iterdir():
        content = path.read_bytes()
        found[path.name] = gzip.decompress(content) if path.name.endswith(".gz") else content
    return found


def test_the_packaged_samples_are_what_the_tool_makes(tool: ModuleType, tmp_path: Path) -> None:
    tool.make(tmp_path)
    packaged = files("kinesis_fast") / "samples"
    assert contents(tmp_path) == contents(packaged)


def test_the_tool_does_not_know_the_encoder() -> None:
    assert not re.search(r"^\s*(import|from) kinesis_fast", TOOL.read_text(), re.MULTILINE)


def test_they_are_small() -> None:
    packaged = files("kinesis_fast") / "samples"
    assert sum(len(path.read_bytes()) for path in packaged.iterdir()) < MAX_BYTES


def test_they_are_slices_of_captured_chunks() -> None:
    origins = {
        "access": "access_1",
        "kubernetes": "k8s_1",
        "typed": "typed_0",
        "odd": "fwd_weird_0",
    }
    samples = {sample.name: sample for sample in load_samples()}
    assert samples.keys() == origins.keys()
    for name, origin in origins.items():
        assert load_chunk(origin).startswith(samples[name].chunk)
    assert {name: len(s.expected) for name, s in samples.items()} == {
        "access": 398,
        "kubernetes": 200,
        "typed": 300,
        "odd": 52,
    }


def test_what_is_expected_is_what_the_go_plugin_made_but_for_a_few() -> None:
    odd = next(sample for sample in load_samples() if sample.name == "odd")
    golden = load_golden("fwd_weird_0", "pk_pk").rows
    different_data, different_keys = [], []
    for index, (expected, row) in enumerate(zip(odd.expected, golden, strict=True)):
        key = expected.partition_key.encode() if expected.partition_key else None
        if row.data is None or json.loads(row.data) != json.loads(expected.data):
            different_data.append(index)
        if row.partition_key != key:
            different_keys.append(index)
        assert expected.data.endswith(b"}\n")
    assert different_data == [5, 6, 7, 8, 11]
    assert different_keys == [26, 28, 33]
