"""The image of a version that runs in a container: built in its slot, fetched for its commit, or chosen itself."""

from __future__ import annotations

import shlex
from types import MappingProxyType
from typing import TYPE_CHECKING

from substitute.core.deploy.enclosed import Command, of_engine
from substitute.core.deploy.preparation.commands import run_all
from substitute.core.model.environment import passed
from substitute.core.model.errors import BuildError
from substitute.core.model.slots import Phase
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    app, name = attempt.app, attempt.app.name
    argv = engine.building(
        *(name, place, place / app.dockerfile, id_file),
        arguments=app.build_args,
        secrets=app.build_secrets,
    )
    try:
        _run(attempt, argv, _secrets(attempt))
    except BaseException:  # what it has started may go on without it
        engine.end_builds(name)
        raise
    return _had(engine, id_file.read_text(encoding="utf-8").strip())


def _secrets(attempt: Attempt) -> dict[str, str]:
    """The values of those that the Dockerfile's steps may read. Raises BuildError for one that is nowhere."""
    known = attempt.environment()
    missing = [name for name in attempt.app.build_secrets if name not in known]
    if missing:
        raise BuildError(
            f"The build secret {missing[0]} has no value.",
            cure=f"Write it in secrets, env_file or pass_env of app.{attempt.app.name}.",
        )
    return {name: known[name] for name in attempt.app.build_secrets}


def _had(engine: Engine, reference: str) -> Image:
    found = engine.find(reference)
    if found is None:
        raise BuildError(
            f"{engine.name} has no image {reference}, which was there a moment ago.",
            cure="If somebody removes images here, deploy again.",
        )
    return found


def _run(attempt: Attempt, argv: Sequence[str], secrets: Mapping[str, str] = MappingProxyType({})) -> None:
    """Run the engine's own program, as who deploys: it has the login at the registry."""
    app, host = attempt.app, attempt.host
    command = Command(argv, host.root, {**secrets, **of_engine(host), **passed(app, host.environ)}, None)
    run_all(
        *(attempt, Phase.BUILD, [(shlex.join(argv), command)]),
        timeout=app.build_timeout,
        failure=BuildError,
        limits=app.build_limits,
        changes_files=False,
    )
