"""What an API server does not do."""

from __future__ import annotations

from substitute.core.model.errors import RuntimeFailedError


class Silent(RuntimeFailedError):  # noqa: N818
    """The API server does not answer, or cannot be asked: what it keeps is not known. That goes on all the same."""


class Refused(RuntimeFailedError):  # noqa: N818
    """The API server says no."""

    status = 0
    """Of its answer."""
