"""What an edge does each second for the others: it says that it lives, follows what they told, and ends what died."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.edges import follow, lead
from substitute.core.model.errors import LockedError
from substitute.core.operate import standbys
from substitute.core.operate.root import up
from substitute.core.state.lock import RECOVERY, deployment_lock, holder_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.ports.edges import Edges


def look_around(host: Host, apps: Iterable[App]) -> None:
    """Do so once. Raises SubstituteError: what could not be done is tried again the next time."""
    if host.edges is None:
        return
    lead(host, host.edges)
    for app in apps:
        if app.is_clustered and app.name in host.journal.names() and _is_free(host, app):
            _look_after(host, host.edges, app)
    lead(host, host.edges)


def _look_after(host: Host, edges: Edges, app: App) -> None:
    told = edges.told(app.name)
    try:
        if edges.left(app.name):
            up(host, [app], guests=False, operation=RECOVERY)
        elif told and told.word != host.journal.word(app.name)[0]:
            with deployment_lock(host.lock_path(app.name), RECOVERY, patience=0.0):
                follow(host, edges, app)
        elif (until := host.journal.app(app.name).unserved_until) and until <= host.clock.now():
            standbys.look_after(host, app)  # who slept for it may be a dead edge
    except LockedError:  # a command here has begun meanwhile, or another edge was quicker
        return


def _is_free(host: Host, app: App) -> bool:
    """Whether no command of this edge works on it: that one follows by itself."""
    return holder_of(host.lock_path(app.name)) is None
