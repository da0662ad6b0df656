"""The identity of a spool: the options that decide where records go, and in what form."""

from collections.abc import Mapping
from typing import Final

from kinesis_fast.config import OPTIONS, OutputConfig
from kinesis_fast.config.parsers import without_user_info

# The profile is among them because it may mean another account, and a stream's name is in all.
NAMES: Final = (
    *("region", "stream", "endpoint", "profile", "role_arn", "partition_key", "data_keys"),
    *("log_key", "replace_dots", "append_newline", "time_key", "time_key_format"),
    *("max_record_size", "compression", "aggregation"),
)
_OPTIONS: Final = {option.name: option for option in OPTIONS if option.name in NAMES}

Identity = Mapping[str, str]


def identity_of(config: OutputConfig) -> dict[str, str]:
    """Return these options as texts; an absent option is an empty text.

    User and password in an endpoint are left out: they must not be written to disk.
    """
    texts = {name: _OPTIONS[name].show(getattr(config, name)) for name in NAMES}
    return texts | {"endpoint": without_user_info(texts["endpoint"])}


def differences(spooled: Identity, today: Identity) -> list[str]:
    """Return the names of the options that differ.

    An option that did not exist when the chunk was spooled counts as having its default value.
    """
    before = {name: option.default_text for name, option in _OPTIONS.items()} | dict(spooled)
    return sorted(name for name in before if before[name] != today.get(name))


def stream_name(stream: str) -> str:
    """Return the name of a stream, given its name or ARN."""
    return stream.rpartition("/")[2]
