"""The distributions are built once for all tests here."""

import pytest
from distributions import Built, build


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The wheel and the sdist of this source tree; the wheel was built from the sdist."""
    return build(tmp_path_factory.mktemp("distributions"))
