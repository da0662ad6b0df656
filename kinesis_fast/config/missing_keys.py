"""What to say about records without a key that an option names, and what is probably wrong."""

import re
from typing import Final

from kinesis_fast.config.options import OutputConfig
from kinesis_fast.logs import printable

_MAX_SHOWN: Final = 120  # characters of a value
_STEPS: Final = re.compile(r"->|[.\[\]]")  # how paths into maps are written here and elsewhere
_SEPARATORS: Final = re.compile(r"[;|\s]")
_EXACT: Final = "names are exact, in upper and lower case too"


def missing_keys(config: OutputConfig) -> dict[str, tuple[str, str]]:
    """Return what to say about records that lack a key.

    Args:
        config: whose options name the keys.

    Returns:
        By the name of the counter, what became of these records, to follow the word "records"; and
        a hint for a chunk in which no record has the key.
    """
    path, keys = "->".join(config.partition_key), ",".join(config.data_keys)
    sent = "with nothing but time_key" if config.time_key else "as {}"
    return {
        "skipped_no_log_key": (
            f"skipped because they lack log_key {_quoted(config.log_key or '')}",
            _hint_for_name(config.log_key or ""),
        ),
        "random_keys": (
            f"with a random partition key because they lack partition_key {_quoted(path)}",
            _hint_for_path(path),
        ),
        "no_data_keys": (
            f"sent {sent} because they have none of data_keys {_quoted(keys)}",
            _hint_for_list(config.data_keys),
        ),
    }


def _hint_for_path(path: str) -> str:
    if "," in path:
        return "partition_key is one key, not a list"
    steps = "->".join(_steps(path))
    if steps not in {"", path}:
        return f"if the key is inside a map, write {printable(steps, _MAX_SHOWN)}"
    return _EXACT


def _hint_for_list(names: tuple[str, ...]) -> str:
    first = dict.fromkeys(step for name in names for step in _steps(name)[:1])
    if list(first) != list(names):
        top_level = printable(",".join(first), _MAX_SHOWN)
        return f"data_keys are at the top level of a record; for a whole map write {top_level}"
    if any(_SEPARATORS.search(name) for name in names):
        return "the names are separated by commas"
    return _EXACT


def _hint_for_name(name: str) -> str:
    if "," in name:
        return "log_key is one key, not a list"
    if _steps(name) != [name]:
        return "log_key is at the top level of a record"
    return _EXACT


def _steps(name: str) -> list[str]:
    """Split at the signs that other programs use for paths, such as $kubernetes['pod_name']."""
    steps = (step.strip(" '\"") for step in _STEPS.split(name.removeprefix("$")))
    return [step for step in steps if step]


def _quoted(value: str) -> str:
    return f"'{printable(value, _MAX_SHOWN)}'"
