"""Where the values of secret variables come from. The values themselves are kept in no noun of the journal's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


@dataclass(frozen=True)
class SecretSource:
    """One of both: the first is a shell command that writes the value, the second a file that holds it."""

    command: str | None = None
    file: str | None = None
    """As it is written: relative to the root."""
    timeout: float = field(default=30.0, compare=False)
    """Seconds that the command may take."""

    def __str__(self) -> str:
        return f"`{self.command}`" if self.command else f"{self.file}"


def load_sources(known: Mapping[str, Mapping[str, Any]]) -> dict[str, SecretSource]:
    """What `asdict` made of them."""
    return {name: SecretSource(**source) for name, source in known.items()}
