"""Numbers that the program tests/torture/end_flush.py and its test share."""

from typing import Final

N_EVENTS: Final = 10_000  # in a chunk
EXIT_CODE: Final = 3
CHILD: Final = 1_000_000_000  # the number that the first of two children sends
