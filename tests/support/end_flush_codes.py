"""What the program end_flush.py of the torture tests does, in numbers."""

from typing import Final

N_EVENTS: Final = 10_000  # in a chunk
EXIT_CODE: Final = 3
CHILD: Final = 1_000_000_000  # what the first of two children sends
