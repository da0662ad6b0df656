"""Options as the host passes them: which names are known, and what an error says about a value."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kinesis_fast.config import parsers
from kinesis_fast.config.option import Option
from kinesis_fast.errors import ConfigError
from kinesis_fast.logs import printable

_MAX_SHOWN_CHARACTERS: Final = 120  # of a value


def known_texts(options: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Return the texts that are not empty, by lower-case name.

    Raises:
        ConfigError: a name is unknown or given twice, or a value is not a text.
    """
    texts: dict[str, str] = {}
    for given, value in options.items():
        name = given.lower() if isinstance(given, str) else ""
        if name not in names:
            raise ConfigError(_unknown(str(given), names))
        if not isinstance(value, str):
            raise ConfigError(
                f"option {name} is of type {type(value).__name__}; allowed: str, as Fluent Bit "
                "passes it"
            )
        if value and name in texts:
            raise ConfigError(f"option {name} is given twice, in different case; allowed: once")
        if value:
            texts[name] = value
    return texts


def _unknown(given: str, names: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(given.lower(), names, n=1, cutoff=0.5)
    hint = f"did you mean {nearest[0]}?" if nearest else f"the options are {', '.join(names)}"
    return f"option '{shown(given)}' is unknown; {hint}"


def parsed(option: Option, text: str, parse: Callable[[str], object] | None = None) -> object:
    """Return the value of a text, read by `parse` instead of the option's own parser if given.

    Raises:
        ConfigError: the text is wrong; it says why, and what is allowed.
    """
    try:
        if not parsers.is_unicode(text):
            raise ValueError("it is not valid UTF-8")
        return (parse or option.parse)(text)
    except ValueError as error:
        raise ConfigError(
            f"option {option.name} is '{shown(option.mask(text))}': {error}; "
            f"allowed: {option.allowed}"
        ) from None


def shown(text: str) -> str:
    """Return a text of an option as a log line may show it: printable, and not long."""
    return printable(text, _MAX_SHOWN_CHARACTERS)


def quoted(text: str) -> str:
    """Return the same, in quotes if it contains spaces or quotes."""
    short = shown(text)
    return f'"{short}"' if any(character in short for character in " \"'") else short
