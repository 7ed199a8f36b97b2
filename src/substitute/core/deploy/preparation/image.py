"""The image of a version that runs in a container: built in its slot, fetched for its commit, or chosen itself."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from substitute.core.deploy.in_container import Command, of_engine
from substitute.core.deploy.preparation.commands import run_all
from substitute.core.model.environment import passed
from substitute.core.model.errors import BuildError
from substitute.core.model.slots import Phase
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.core.deploy.attempt import Attempt
    from substitute.core.model.apps import App
    from substitute.core.ports.engine import Engine, Image

_ID = ".substitute-image-id"
"""The file among an app's state that a build writes the id of its image into."""


def with_image(attempt: Attempt) -> App:
    """The app with the image of its candidate, which the engine has then, and holds. Raises BuildError."""
    host, app, commit = attempt.host, attempt.app, attempt.plan.revision.commit
    engine = host.engine()
    if engine is None or not app.is_contained:
        return app
    pulled = ""
    if app.dockerfile:
        found = _built(attempt, engine)
    elif app.source == "image":
        found = _had(engine, engine.name_of(app.name, commit))
    else:
        reference = app.image.replace("{commit}", commit)
        before = engine.find(reference)
        _run(attempt, engine.pulling(reference))
        found = _had(engine, reference)
        if before is None:
            pulled = reference
    if app.source != "image":
        engine.hold(found.id, app.name, found.id.removeprefix("sha256:"))
    if pulled:  # it is held by our name alone, and goes when no version needs it
        engine.let_go(pulled)
    return replace(app, image_id=found.id)


def _built(attempt: Attempt, engine: Engine) -> Image:
    place = attempt.slot.place(attempt.app)
    id_file = attempt.app.state_directory / _ID
    name = attempt.app.name
    try:
        _run(attempt, engine.building(name, place, place / attempt.app.dockerfile, id_file))
    except BaseException:  # what it has started may go on without it
        engine.end_builds(name)
        raise
    return _had(engine, id_file.read_text(encoding="utf-8").strip())


def _had(engine: Engine, reference: str) -> Image:
    found = engine.find(reference)
    if found is None:
        raise BuildError(
            f"{engine.name} has no image {reference}, which was there a moment ago.",
            cure="If somebody removes images here, deploy again.",
        )
    return found


def _run(attempt: Attempt, argv: Sequence[str]) -> None:
    """Run the engine's own program, as who deploys: it has the login at the registry."""
    app, host = attempt.app, attempt.host
    command = Command(argv, host.root, {**of_engine(host), **passed(app, host.environ)}, None)
    run_all(
        *(attempt, Phase.BUILD, [(shlex.join(argv), command)]),
        timeout=app.build_timeout,
        failure=BuildError,
        limits=app.build_limits,
        changes_files=False,
    )
