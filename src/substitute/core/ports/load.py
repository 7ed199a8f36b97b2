"""Puts requests on the front door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path


class Load(Protocol):
    """Requests that no client sends."""

    def flowing(
        self,
        front: str,
        *,
        headers: Mapping[str, str],
        paths: Sequence[str],
        rate: float,
        directory: Path,
        tell: Callable[[str], None],
    ) -> AbstractContextManager[object]:
        """Ask for `paths` in turn while it is entered, by GET and `rate` times a second in all.

        `front` is where clients come in (``127.0.0.1:8080``); each request has `headers`. What fails is nobody's
        failure. A file in `directory` keeps what goes wrong. `tell` is called when it is left, once at most, with what
        makes these requests worth nothing: nothing sends them any more, or no answer to a path was 2xx.
        """
