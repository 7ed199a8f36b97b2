"""Whose code of a repository runs as root, and that it is said."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from substitute.core.model.apps import App
    from substitute.core.state.journal import Journal

AS_ROOT = (
    "The build, the hooks and the app of {app} run as root. "
    'Set app.{app}.user to another user, or to "root" if that is what you want.'
)
_TOLD_OF_ROOT = "told of root"
"""The fact that says of which apps this was told."""


def tell_of_root(journal: Journal, app: App, warn: Callable[[str], None]) -> None:
    """Say once that what an app's repository holds runs as root; `status` says it from then on."""
    told = set(json.loads(journal.fact(_TOLD_OF_ROOT) or "[]"))
    known = told | {app.name} if runs_as_root(app) else told - {app.name}
    if known - told:
        warn(f"{AS_ROOT.format(app=app.name)} This is said once; `substitute status` shows it.")
    if known != told:
        journal.remember(_TOLD_OF_ROOT, json.dumps(sorted(known)))


def runs_as_root(app: App) -> bool:
    """Whether nobody has said whom its code runs as, and that is root. Of a container its image says it."""
    return not app.is_contained and app.user is None and os.geteuid() == 0
