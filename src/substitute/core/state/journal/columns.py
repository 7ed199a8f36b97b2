"""Values as the columns hold them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from substitute.core.model.programs import Process
from substitute.core.model.slots import Endpoint

if TYPE_CHECKING:
    from collections.abc import Iterable


def dump_process(process: Process) -> str:
    """Pid, start time and boot, as JSON."""
    return json.dumps([process.pid, process.start_time, process.boot_id])


def load_process(text: str | None) -> Process | None:
    """What `dump_process` made."""
    return Process(*json.loads(text)) if text else None


def dump_endpoints(endpoints: Iterable[Endpoint]) -> str:
    """Hosts and ports, as JSON."""
    return json.dumps([[one.host, one.port] for one in endpoints])


def load_endpoints(text: str) -> tuple[Endpoint, ...]:
    """What `dump_endpoints` made."""
    return tuple(Endpoint(host, port) for host, port in json.loads(text))
