"""`attngan serve` in a process of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def served(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address, once it listens."""
    command = [sys.executable, "-m", "attngan", "serve", *map(str, arguments), "--port", "0", "--device", "cpu"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        try:
            said = ""
            for line in process.stdout:
                said += line
                if found := re.match(r"(http://\S+/)  ", line):
                    yield process, found[1]
                    break
            else:
                raise AssertionError(f"it ended before it listened: {said}")
        finally:
            process.kill()
