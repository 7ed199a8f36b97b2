"""Secret values are shown nowhere: not on the screen, in JSON, in the log of a deployment, or in the journal."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from substitute.core.model.events import Failed, Interrupted, Notice, Output, Warned
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Iterable

    from substitute.core.model.errors import SubstituteError
    from substitute.core.model.events import Event

_HIDDEN = "***"
_SHORTEST = 4
"""A shorter value would be found in words that have nothing to do with it."""


class Mask:
    """Replaces values, and each line of one that has several, wherever they stand in a text."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        parts = {line.strip() for value in values for line in value.splitlines()}
        # The longest first: one may be a part of another.
        found = sorted((part for part in parts if len(part) >= _SHORTEST), key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, found))) if found else None

    def text(self, text: str) -> str:
        """Return `text` without them."""
        return self._pattern.sub(_HIDDEN, text) if self._pattern else text

    def event(self, event: Event) -> Event:
        """Return `event` without them."""
        match event:
            case _ if not self._pattern:
                return event
            case Output():
                return replace(event, line=self.text(event.line))
            case Notice() | Warned():
                return replace(event, message=self.text(event.message))
            case Failed() | Interrupted():
                return replace(event, reason=self.text(event.reason))
            case _:
                return event

    def error(self, error: SubstituteError) -> SubstituteError:
        """Take them from `error`, and return it."""
        error.what, error.fact = self.text(error.what), self.text(error.fact)
        error.serves, error.cure = self.text(error.serves), self.text(error.cure)
        return error
