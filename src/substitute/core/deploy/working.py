"""Who works on an app does so alone: of all processes of this machine, and of all edges of its cluster."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.state.lock import Lock


@contextmanager
def working(host: Host, app: App, operation: str) -> Iterator[Lock]:
    """Be the only one who works on `app`. Raises LockedError.

    Where there are several edges, the journal says then what the one has left that worked on it last; at the end, all
    are told what it says.
    """
    with ExitStack() as held:
        lock = held.enter_context(host.lock(host.lock_path(app.name), operation))
        if host.edges and app.is_clustered:
            from substitute.core.deploy.edges import sharing  # noqa: PLC0415  # few roots have several

            held.enter_context(sharing(host, host.edges, app, operation))
        yield lock


def tell_edges(host: Host, app: App) -> None:
    """Have the other edges know what the journal says of `app`, where there are some. Raises as `edges.tell`."""
    if host.edges:
        from substitute.core.deploy.edges import tell  # noqa: PLC0415  # few roots have several

        tell(host, app)
