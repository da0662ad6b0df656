"""The version of the package, in its one place."""

from typing import Final

VERSION: Final = "0.1.0"
