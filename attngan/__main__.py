"""``python -m attngan``: the same as ``attngan``."""

import sys

from attngan.cli import main

if __name__ == "__main__":
    sys.exit(main())
