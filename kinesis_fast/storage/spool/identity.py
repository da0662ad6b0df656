"""The identity of a spool: the options that decide where its records go, and in which form."""

from collections.abc import Mapping
from typing import Final

from kinesis_fast.config import OPTIONS, OutputConfig

_IDENTIFYING: Final = tuple(option for option in OPTIONS if option.identifies_spool)

Identity = Mapping[str, str]


def identity_of(config: OutputConfig) -> dict[str, str]:
    """Return the identifying options as texts, empty for absent options.

    The texts are masked: user and password of an endpoint do not belong on a disk.
    """
    return {
        option.name: option.mask(option.show(getattr(config, option.name)))
        for option in _IDENTIFYING
    }


def differences(spooled: Identity, today: Identity) -> list[str]:
    """Return the names of the options that differ, sorted.

    An option that did not exist when the chunk was spooled counts as if it had its default.
    """
    before = {option.name: option.default_text for option in _IDENTIFYING} | dict(spooled)
    return sorted(name for name in before if before[name] != today.get(name))


def stream_name(stream: str) -> str:
    """Return the name of a stream, given its name or ARN."""
    return stream.rpartition("/")[2]
