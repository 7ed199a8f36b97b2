"""What holds for every test."""

from __future__ import annotations

import signal

# A shell starts what runs in its background with SIGINT ignored; some tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)
