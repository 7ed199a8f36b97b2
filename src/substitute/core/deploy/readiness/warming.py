"""Pages that are asked for once before an instance gets traffic, so that its caches are filled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.findings import span

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from substitute.core.deploy.readiness.started import Started
    from substitute.core.host import Host


def warm(host: Host, started: Iterable[Started], show: Callable[[str], None]) -> None:
    """Ask each instance for each page, one after the other, and show what came.

    Whatever comes is no failure. All together take at most `health.timeout` seconds.
    """
    began = host.clock.monotonic()
    for one in started:
        limit = one.health.timeout
        for path in one.health.warm:
            for endpoint in host.answering(one.instance):
                asked = host.clock.monotonic()
                left = began + limit - asked
                if left <= 0:
                    show(
                        f"GET {path}: not asked, {limit:g}s are over (app.{one.instance.app}.health.timeout)"
                    )
                    continue
                answer = host.prober.fetch(endpoint, path, one.health, limit=left)
                where = f" on :{endpoint.port}" if one.instance.number > 1 else ""
                show(f"GET {path}{where}: {answer.seen}, {span(host.clock.monotonic() - asked)}")
