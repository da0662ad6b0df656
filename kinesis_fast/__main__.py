"""`python -m kinesis_fast` runs the command `kinesis-fast`."""

import sys

from kinesis_fast.cli import main

if __name__ == "__main__":
    sys.exit(main())
