"""Answers that come late on the connections that a balancer keeps to an app.

An app that writes an answer in several small parts, without TCP_NODELAY, has its kernel hold the second part back until
the first is acknowledged. The other side's kernel takes 40 ms for that, from the second answer of a connection on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.events import Warned
from substitute.core.ports.observer import Request

if TYPE_CHECKING:
    from substitute.core.deploy.attempt import Attempt
    from substitute.core.model.health import Health

LATE = 0.03
"""Seconds. What is this late twice waits for an acknowledgement."""


def warn_of_late_answers(attempt: Attempt, health: Health) -> None:
    """Say what each GET will cost that comes on a kept connection, and what to do."""
    if health.kind != "http":
        return
    observer, endpoint = attempt.host.observer, attempt.slot.endpoints[0]
    request = Request("GET", health.path, health.host, headers=health.headers)
    late = 0.0
    for _ in range(2):
        late = observer.lateness(endpoint, request)
        if late < LATE:
            return
    attempt.emit(
        Warned(
            f"The app answers a second GET {request.path} on one connection {late * 1000:.0f} ms late: it sends the "
            "answer in several small parts, and waits until the first one is acknowledged. The balancer keeps "
            "connections to the app, so most GETs will take that long. To fix it, set TCP_NODELAY in the app, or write "
            "`keep_connections = false` in [balancer]. See docs/balancers.md."
        )
    )
