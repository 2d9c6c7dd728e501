"""What the pages hold."""

import re
import textwrap
from pathlib import Path


def python(page: Path) -> list[str]:
    """The Python of a page, a text for each block."""
    found = re.findall(r"^ *```python\n(.*?)^ *```", page.read_text(), re.M | re.S)
    return [textwrap.dedent(block) for block in found]
