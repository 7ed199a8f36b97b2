"""``python -m substitute``."""

import sys

from substitute.cli import main

if __name__ == "__main__":
    sys.exit(main())
