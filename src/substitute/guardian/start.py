"""The guardian, started beside a deployment."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from substitute.guardian import wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from substitute.core.ports.runtime import Runtime

_KEPT = (
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "TZ",
    "XDG_RUNTIME_DIR",
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
)
"""What a guardian gets of the environment; it settles by what the journal remembers."""


@contextmanager
def guarded(root: Path, app: str, runtime: Runtime) -> Iterator[Callable[[], None]]:
    """Have a small process settle `app` if this one dies inside; end it unused otherwise.

    It blocks on the lock that the deployer holds, so it must be gone before that is released; not where it is to go on
    with what is left, which calling what is given says.
    """
    run = root / "deploy" / "run"
    end = runtime.spawn(
        f"{app}_guardian",
        [
            *(sys.executable, "-I", "-S", wait.__file__, str(run / f"{app}.lock")),
            *(sys.executable, "-P", "-m", "substitute.recovery", str(root), app),
        ],
        directory=root,
        environment=_environment(),
        log=run / "guardian.log",
    )
    ends = [end]
    try:
        yield ends.clear
    finally:
        for each in ends:
            each()


def _environment() -> dict[str, str]:
    found = {name: os.environ[name] for name in _KEPT if name in os.environ}
    if "PYTHONPATH" in found:  # a relative place would be one in the root, where the guardian works
        places = found["PYTHONPATH"].split(os.pathsep)
        found["PYTHONPATH"] = os.pathsep.join(place for place in places if place.startswith("/"))
    return found
