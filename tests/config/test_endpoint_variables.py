"""An endpoint in the environment allows the same names as the option endpoint."""

import pytest

from kinesis_fast.config import OutputConfig
from kinesis_fast.errors import ConfigError

NAMES = {"region": "local", "stream": "/topic"}
URL = "http://localhost:4567"


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS"])
def test_it_allows_the_names_of_compatible_services(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, URL)
    assert OutputConfig.from_options(NAMES).region == "local"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"AWS_ENDPOINT_URL": ""},
        {"AWS_ENDPOINT_URL_STS": URL},
        {"AWS_ENDPOINT_URL": URL, "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "True"},
    ],
)
def test_not_when_it_is_not_used(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="option region is 'local'"):
        OutputConfig.from_options(NAMES)
