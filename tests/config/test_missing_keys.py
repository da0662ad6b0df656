"""What is said about records without a key that an option names, and the hints."""

import pytest
from chunks import output_config

from kinesis_fast.config.missing_keys import missing_keys

EXACT = "names are exact, in upper and lower case too"


def hint(counter: str, **options: str) -> str:
    return missing_keys(output_config(options))[counter][1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("kubernetes.pod_name", "if the key is inside a map, write kubernetes->pod_name"),
        ("$kubernetes.pod_name", "if the key is inside a map, write kubernetes->pod_name"),
        ("$kubernetes['pod_name']", "if the key is inside a map, write kubernetes->pod_name"),
        ('$a["b"][c]', "if the key is inside a map, write a->b->c"),
        ("$.a.b", "if the key is inside a map, write a->b"),
        ("$host", "if the key is inside a map, write host"),
        ("a->b.c", "if the key is inside a map, write a->b->c"),
        ("host,pod", "partition_key is one key, not a list"),
        ("a->b", EXACT),
        ("Host", EXACT),
        ("$", EXACT),
    ],
)
def test_hint_for_a_partition_key(value: str, expected: str) -> None:
    assert hint("random_keys", partition_key=value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("kubernetes->pod,log", "for a whole map write kubernetes,log"),
        ("a.b, a.c", "for a whole map write a"),
        ("$log", "for a whole map write log"),
        ("level message", "the names are separated by commas"),
        ("level;message", "the names are separated by commas"),
        ("Level,message", EXACT),
    ],
)
def test_hint_for_data_keys(value: str, expected: str) -> None:
    assert hint("no_data_keys", data_keys=value).endswith(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a->log", "log_key is at the top level of a record"),
        ("log,message", "log_key is one key, not a list"),
        ("Log", EXACT),
    ],
)
def test_hint_for_a_log_key(value: str, expected: str) -> None:
    assert hint("skipped_no_log_key", log_key=value) == expected


def test_values_are_printable() -> None:
    evil = "\x1b[31m" * 100
    for text, hint in missing_keys(
        output_config(partition_key=evil, data_keys=evil, log_key=evil)
    ).values():
        assert "\x1b" not in text + hint
        assert len(text + hint) < 400


def test_data_keys_beside_the_time() -> None:
    texts = missing_keys(output_config(data_keys="a", time_key="t"))
    assert texts["no_data_keys"][0] == (
        "sent with nothing but time_key because they have none of data_keys 'a'"
    )
