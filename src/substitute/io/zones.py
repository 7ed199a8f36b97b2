"""Time zones of this machine."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

if TYPE_CHECKING:
    from datetime import tzinfo

_OF_THE_MACHINE = Path("/etc/localtime")


class UnknownZoneError(ValueError):
    """This machine knows no zone of that name."""


def zone(name: str) -> tzinfo:
    """The zone called `name`; empty: that of the machine, whatever TZ says. Raises UnknownZoneError."""
    if not name:
        try:
            with _OF_THE_MACHINE.open("rb") as file:
                return ZoneInfo.from_file(file)
        except (OSError, ValueError):  # it has none: then libc takes UTC
            return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UnknownZoneError(name) from None
