"""The version itself, before anything of it starts: its files are brought, built and released."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.hooks import AHEAD, require_executable
from substitute.core.deploy.preparation.commands import run_commands
from substitute.core.deploy.preparation.directory import require_directory
from substitute.core.deploy.preparation.release import run_release
from substitute.core.deploy.preparation.shared import link_shared
from substitute.core.deploy.preparation.strays import mark, rescue
from substitute.core.deploy.procfile import with_procfile
from substitute.core.deploy.versions.kept_versions import keeps_more, moved_on
from substitute.core.model.errors import BuildError
from substitute.core.model.events import Warned
from substitute.core.model.slots import Phase

if TYPE_CHECKING:
    from substitute.core.deploy.attempt import Attempt
    from substitute.core.model.apps import App


def prepare(attempt: Attempt) -> None:
    """Update the candidate's slot, build there, and run its release."""
    host, app = attempt.host, attempt.app
    attempt.say_what_it_costs()
    attempt.hook("pre_checkout")
    with attempt.phase(Phase.UPDATE):
        source, commit = host.source(app), attempt.plan.revision.commit
        rescue(attempt)
        if not moved_on(host, app, attempt.slot, attempt.id or 0):
            returns = attempt.slot.intact and not app.clean and source.returns(attempt.slot.directory, commit)
            host.journal.spoil(app.name, attempt.slot.name, returns_from=commit if returns else None)
        source.update(attempt.slot.directory, commit, clean=app.clean and not app.shared)
        require_directory(host, app, attempt.slot, commit)
        link_shared(attempt, updated=True)
        if app.clean and app.shared:  # what is shared from now on was still in the slot
            source.update(attempt.slot.directory, commit, clean=True)
            link_shared(attempt, again=True)
        attempt.app = app = with_procfile(host, app, attempt.slot, lambda text: attempt.emit(Warned(text)))
        require_executable(host, app, attempt.slot, AHEAD[:-1] if attempt.is_check else AHEAD)
    attempt.hook("pre_install")
    with attempt.phase(Phase.BUILD):
        try:
            _build(attempt)
        finally:
            mark(attempt)
    attempt.hook("post_install")
    run_release(attempt)


def _build(attempt: Attempt) -> None:
    host, app = attempt.host, attempt.app
    found = _pushed_before(attempt)
    if found is None:
        run_commands(
            *(attempt, Phase.BUILD, app.build.commands),
            timeout=app.build.timeout,
            failure=BuildError,
            limits=app.build.limits,
        )
        found = _with_image(attempt)
    attempt.app = app = found
    if keeps_more(app):
        host.source(app).seal(attempt.slot.directory)
    host.journal.built(app.name, attempt.slot.name, attempt.plan.revision.commit)


def _pushed_before(attempt: Attempt) -> App | None:
    if not attempt.app.is_pushed:
        return None
    from substitute.core.deploy.preparation.image import pushed_before  # noqa: PLC0415  # few are

    return pushed_before(attempt)


def _with_image(attempt: Attempt) -> App:
    if not attempt.app.is_contained:
        return attempt.app
    from substitute.core.deploy.preparation.image import with_image  # noqa: PLC0415  # as above

    return with_image(attempt)
