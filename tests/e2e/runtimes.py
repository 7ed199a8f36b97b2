"""Which of the runtimes a test has.

Each passes the same suite (`tests/contracts/test_runtime.py`). What is tested here with both is where a runtime has
code of its own for it: what starts, what is left behind, and who looks after it; with the second one in `make
test-slow`. All else has the second runtime in `make test-long` alone.
"""

from __future__ import annotations

import pytest

BOTH = ("supervisord", pytest.param("systemd", marks=[pytest.mark.machine, pytest.mark.slow]))
"""The parameters of a fixture `site`."""
IN_LONG = ("supervisord", pytest.param("systemd", marks=[pytest.mark.machine, pytest.mark.long]))
SYSTEMD_IN_LONG = pytest.mark.parametrize("site", IN_LONG, indirect=True)
"""For a test whose `site` has `BOTH`."""
