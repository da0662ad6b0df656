"""What options mean together: defaults, contradictions, and choices that are probably mistakes."""

from collections.abc import Iterator
from dataclasses import fields
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

from kinesis_fast.compression import default_level, levels_of
from kinesis_fast.config import parsers
from kinesis_fast.config.option import option_of
from kinesis_fast.config.texts import shown
from kinesis_fast.config.time_format import local_time_is_utc, sign_of_utc
from kinesis_fast.errors import ConfigError
from kinesis_fast.limits import DEFAULT_AGGREGATE_BYTES, DEFAULT_JOINED_BYTES

if TYPE_CHECKING:
    from kinesis_fast.config.options import OutputConfig

_AGGREGATIONS: Final = ("aggregation", "simple_aggregation")
# An option has no effect without any of the options behind it.
_NEEDED_BY: Final = (
    ("time_key_format", ("time_key",)),
    ("time_zone", ("time_key",)),
    ("external_id", ("role_arn",)),
    ("spool_dir", ("experimental_concurrency",)),
    ("spool_max_bytes", ("spool_dir",)),
    ("dead_letter_max_bytes", ("dead_letter_dir",)),
    ("aggregation_max_size", _AGGREGATIONS),
    ("aggregation_buckets", _AGGREGATIONS),
    ("aggregation_buckets", ("partition_key",)),
)


def with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values by option, with the defaults that depend on other options."""
    joined = values["simple_aggregation"]
    completed = dict(values)
    if values["compression_level"] is None:
        completed["compression_level"] = default_level(values["compression"], joined=joined)
    if values["aggregation_max_size"] is None and (values["aggregation"] or joined):
        size = DEFAULT_JOINED_BYTES if joined else DEFAULT_AGGREGATE_BYTES
        completed["aggregation_max_size"] = min(size, values["max_record_size"])
    return completed


def check(config: "OutputConfig") -> None:
    """Raise ConfigError if two options contradict each other."""
    arn_region = parsers.region_of_arn(config.stream)
    if arn_region not in {None, config.region}:
        raise ConfigError(
            f"option region is '{config.region}', but the ARN in option stream says "
            f"'{arn_region}'; allowed: the same region in both"
        )
    if config.aggregation and config.simple_aggregation:
        raise ConfigError(
            "options aggregation and simple_aggregation are both true; allowed: one of them"
        )
    if config.aggregation_max_size and config.aggregation_max_size > config.max_record_size:
        raise ConfigError(
            f"option aggregation_max_size is '{config.aggregation_max_size}', but max_record_size "
            f"is {config.max_record_size}; allowed: at most max_record_size"
        )
    _check_level(config)


def _check_level(config: "OutputConfig") -> None:
    if config.compression_level is None:
        return
    levels = levels_of(config.compression)
    if config.compression_level not in levels:
        allowed = f"{levels[0]} to {levels[-1]}" if levels else "no level"
        raise ConfigError(
            f"option compression_level is '{config.compression_level}', but compression is "
            f"{config.compression}; allowed with it: {allowed}"
        )


def warnings_about(config: "OutputConfig") -> list[str]:
    """Return a sentence for each choice that is allowed but probably a mistake."""
    return [*_about_keys(config), *_about_delivery(config), *_about_options_without_effect(config)]


def _about_keys(config: "OutputConfig") -> Iterator[str]:
    if config.log_key is not None and not _can_find(config, config.log_key):
        yield (
            f"no record can have the log_key '{shown(config.log_key)}' after data_keys and "
            "replace_dots are applied: every record will be skipped"
        )
    if any(name != name.strip() for name in config.partition_key):
        yield "spaces in the path of partition_key are taken as part of the key names"
    sign = sign_of_utc(config.time_key_format) if config.time_key else ""
    if sign and config.time_zone == "local" and not local_time_is_utc():
        yield (
            f"time_key_format ends in '{sign}', which means UTC, but the times are in the "
            "local time zone; set time_zone to utc"
        )


def _about_delivery(config: "OutputConfig") -> Iterator[str]:
    if config.experimental_concurrency and config.spool_dir is None:
        yield (
            "with experimental_concurrency but no spool_dir, a flush returns OK before its "
            "records have arrived: records in flight are lost if the process dies"
        )
    for name, what in (("endpoint", "records"), ("sts_endpoint", "credentials")):
        if parsers.is_open_to_others(getattr(config, name)):
            yield (
                f"{name} is http without TLS to another host: {what} can be read and changed on "
                "the way; use https://"
            )
    if config.metrics_listen and not ip_address(config.metrics_listen[0]).is_loopback:
        yield (
            "metrics_listen is open to other hosts: whoever reaches it can read the names of "
            "streams and all counts; use 127.0.0.1, or let a firewall protect the port"
        )
    if config.compression != "none" and not config.simple_aggregation:
        yield (
            "compression without simple_aggregation compresses each record alone: below about "
            "1 KB that saves little (10 % of 200 bytes) for much CPU time"
        )


def _about_options_without_effect(config: "OutputConfig") -> Iterator[str]:
    defaults = {field.name: option_of(field).default for field in fields(config)}
    for name, needed in _NEEDED_BY:
        is_set = getattr(config, name) != defaults[name]
        if is_set and not any(getattr(config, other) for other in needed):
            yield f"{name} has no effect without {' or '.join(needed)}"
    if not config.auto_retry_requests:
        yield (
            "auto_retry_requests false has no effect: a request that failed is always tried again "
            "for a few seconds before a flush returns RETRY"
        )


def _can_find(config: "OutputConfig", log_key: str) -> bool:
    """Tell whether a record can have this key when log_key is looked up, as the last step."""

    def renamed(name: str) -> str:
        return name if config.replace_dots is None else name.replace(".", config.replace_dots)

    if config.data_keys:
        kept = {*config.data_keys, *([config.time_key] if config.time_key else [])}
        return log_key in {renamed(name) for name in kept}
    return "." not in log_key or "." in renamed(log_key)
