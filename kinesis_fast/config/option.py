"""Option: how the text of one option is read, shown and described."""

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, replace
from typing import Any, Final

_KEY: Final = "option"  # of Field.metadata


def _shown(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return str(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One row of the table of options.

    Attributes:
        parse: returns the value of a text, or raises ValueError with the reason.
        allowed: what parse accepts, in words.
        help: what the option does, in one sentence, for `--help` and the README.
        details: what the README adds, in Markdown.
        default: the value when the option is absent.
        absent: what happens when the option is absent, if default does not tell: "random".
        required: whether the option must be given.
        identifies_spool: whether an output sends a spooled chunk only if this option is the same.
        show: the reverse of parse.
        mask: removes secrets from a text.
        name: as in Fluent Bit's configuration, lower case; the name of the field.
    """

    parse: Callable[[str], object]
    allowed: str
    help: str
    details: str = ""
    default: object = None
    absent: str = ""
    required: bool = False
    identifies_spool: bool = False
    show: Callable[[Any], str] = _shown
    mask: Callable[[str], str] = str
    name: str = ""

    @property
    def default_text(self) -> str:
        """The default as it would be written in a configuration; empty if there is none."""
        return self.show(self.default)

    @property
    def summary(self) -> str:
        """One line for `--help`: what the option does, and its default."""
        default = self.absent or self.default_text
        return f"{self.help} Default: {default}." if default else self.help

    @property
    def metadata(self) -> Mapping[str, "Option"]:
        """The metadata of the dataclass field that holds the value of this option."""
        return {_KEY: self}


def option_of(field: "Field[Any]") -> Option:
    """Return the option in the metadata of a field, under the field's name."""
    option: Option = field.metadata[_KEY]
    return replace(option, name=field.name)
