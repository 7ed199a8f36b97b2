"""Loaded into supervisord itself: once a minute it rotates the logs of the instances.

So no further process stays resident, and logs are rotated however long nobody types a command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from substitute.io.rotation import rotate_where_large


class Rotation:
    """An interface without methods for callers; it only listens to supervisord's clock."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def tick(self, _event: object) -> None:
        """Rotate every log of every app that has grown too large."""
        for log in self._root.glob("deploy/*/log/*.log"):
            rotate_where_large(log)


def make(_supervisord: Any, **_settings: str) -> Rotation:
    """Called by supervisord, whose working directory is ``deploy/run`` of the root."""
    from supervisor import events  # noqa: PLC0415  # only there, and only it, has it loaded

    rotation = Rotation(Path.cwd().parent.parent)
    events.subscribe(events.Tick60Event, rotation.tick)  # type: ignore[no-untyped-call]
    return rotation
