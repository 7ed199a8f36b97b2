"""Puts requests on the front door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path


class Load(Protocol):
    """Requests that no client sends."""

    def flowing(
        self, front: str, *, host: str, paths: Sequence[str], rate: float, directory: Path
    ) -> AbstractContextManager[object]:
        """Ask for `paths` in turn while it is entered, by GET and `rate` times a second in all.

        `front` is where clients come in (``127.0.0.1:8080``), and `host` the Host header, or empty. What fails is
        nobody's failure. A file in `directory` keeps what goes wrong.
        """
