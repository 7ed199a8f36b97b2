"""Print docs/configuration.md."""

from __future__ import annotations

import sys

from substitute.config.reference import reference_markdown

if __name__ == "__main__":
    sys.stdout.write(reference_markdown())
