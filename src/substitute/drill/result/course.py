"""How a drill went, beside its requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from substitute.core.model.errors import SubstituteError


@dataclass
class Course:
    """How the drill went, beside its requests."""

    error: SubstituteError | None = None
    """Why the operation did not succeed, or what ended the drill."""
    lost: str = ""
    """What the generator said, where it ended before its time."""
