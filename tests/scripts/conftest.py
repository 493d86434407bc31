"""Scripts import each other by their own names, as they do when they are run."""

import sys

from tests.conftest import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "scripts"))
