"""Events as JSON: one object a line, in ASCII, so that any reader in any locale gets it whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from substitute.core.model.events import Event
from substitute.values import fields, is_dataclass


def json_line(event: Event | Mapping[str, Any]) -> str:
    """Return `event` as a line: ``time`` (ISO 8601, UTC), ``event``, and its fields."""
    named = {"event": event.event, **plain(event)} if isinstance(event, Event) else event
    return json.dumps({"time": iso_time(datetime.now(UTC).timestamp()), **named}, default=str)


def plain(value: Any) -> Any:
    """Return `value` with dataclasses and mappings of any kind as dictionaries."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def iso_time(epoch: float) -> str:
    """Return seconds since the epoch as ``2026-01-31T12:00:00.000Z``."""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
