"""What a package says of where it comes from; everything else is in pyproject.toml.

README.md's links and pictures are relative, so that they hold in every copy of the repository. An index shows it
without the repository: a build that is told the repository's address makes them absolute, and names it among the URLs:

    ATTNGAN_REPOSITORY=https://... python -m build
"""

import os
import re
from pathlib import Path

from setuptools import setup

ADDRESS = os.environ.get("ATTNGAN_REPOSITORY", "").rstrip("/")
URLS = {
    "Repository": ADDRESS,
    "Documentation": f"{ADDRESS}/blob/HEAD/README.md#where-to-read-on",
    "Changelog": f"{ADDRESS}/blob/HEAD/CHANGELOG.md",
    "Issues": f"{ADDRESS}/issues",
}


def absolute(link: re.Match[str]) -> str:
    """A picture as its bytes, another file as a page."""
    return f"{link[1]}({ADDRESS}/{'raw' if link[1].startswith('!') else 'blob'}/HEAD/{link[2]})"


readme = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
setup(
    long_description=re.sub(r"(!?\[[^\]]*\])\((?![a-z]+:|#)([^)\s]+)\)", absolute, readme) if ADDRESS else readme,
    long_description_content_type="text/markdown",
    project_urls=URLS if ADDRESS else {},
)
