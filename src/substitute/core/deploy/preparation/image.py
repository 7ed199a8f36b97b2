"""The image of a version that runs in a container: built in its slot, fetched for its commit, or chosen itself.

Where a registry is between the two, it is asked first: what it has of a commit is not built again.
"""

from __future__ import annotations

import shlex
from types import MappingProxyType
from typing import TYPE_CHECKING

from substitute.core.deploy.in_container import Command, of_engine
from substitute.core.deploy.preparation.commands import run_all
from substitute.core.model.environment import passed
from substitute.core.model.errors import BuildError
from substitute.core.model.events import Notice
from substitute.core.model.slots import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from substitute.core.deploy.attempt import Attempt
    from substitute.core.model.apps import App
    from substitute.core.ports.engine import Builder, Engine, Image

_ID = ".substitute-image-id"
"""The file among an app's state that a build writes the id of its image into."""
_TOLD = 12
"""Digits of an id by which an image is told from others of its commit."""


def pushed_before(attempt: Attempt) -> App | None:
    """The app with the image of its candidate, where that was built and pushed before; None: it is to be built.

    Its registry is asked only for what is built here. Raises RuntimeFailedError where it does not answer, and
    SourceError where there is nothing that could build.
    """
    host, app, commit = attempt.host, attempt.app, attempt.plan.revision.commit
    engine = host.engine()
    if engine is None or not app.is_pushed:
        return None
    found = engine.find(app.image_of(commit))
    if found is None:
        engine.builder()  # without one nothing needs to begin
        return None
    attempt.emit(Notice(f"{app.image_of(commit)} was pushed before: nothing is built."))
    return app.with_image(found.id)


def with_image(attempt: Attempt) -> App:
    """The app with the image of its candidate, which the engine has then, and holds. Raises BuildError."""
    host, app, commit = attempt.host, attempt.app, attempt.plan.revision.commit
    engine = host.engine()
    if engine is None or not app.is_contained:
        return app
    pulled = ""
    if app.image.dockerfile:
        found = _built(attempt, engine.builder())
        if app.is_pushed:
            found = _pushed(attempt, engine, found)
    elif app.source == "image":
        found = _had(engine, engine.name_of(app.name, commit))
    else:
        reference = app.image_of(commit)
        before = engine.find(reference)
        _run(attempt, engine.pulling(reference))
        found = _had(engine, reference)
        if before is None:
            pulled = reference
    if app.source != "image":
        engine.hold(found.id, app.name, found.id.removeprefix("sha256:"))
    if pulled:  # it is held by our name alone, and goes when no version needs it
        engine.let_go(pulled)
    return app.with_image(found.id)


def _built(attempt: Attempt, builder: Builder) -> Image:
    place = attempt.slot.place(attempt.app)
    id_file = attempt.app.state_directory / _ID
    app, name = attempt.app, attempt.app.name
    argv = builder.building(
        *(name, place, place / app.image.dockerfile, id_file),
        arguments=app.image.build_args,
        secrets=app.image.build_secrets,
    )
    try:
        _run(attempt, argv, _secrets(attempt))
    except BaseException:  # what it has started may go on without it
        builder.end_builds(name)
        raise
    return _had(builder, id_file.read_text(encoding="utf-8").strip())


def _pushed(attempt: Attempt, engine: Engine, built: Image) -> Image:
    """What was built, as its registry has it. Here it keeps a name of ours: the next build begins with its layers.

    A registry takes a tag when it has all of it. So one that is there is whole, whenever its push was killed.
    """
    app, commit, builder = attempt.app, attempt.plan.revision.commit, engine.builder()
    reference = app.image_of(commit)
    builder.hold(built.id, app.name, f"{commit}-{built.id.removeprefix('sha256:')[:_TOLD]}")
    builder.give_name(built.id, reference)
    cure = (
        f"The image is built. See whether the registry answers, and takes it from this user (`{builder.name} login "
        f"{reference.partition('/')[0]}`); then deploy again."
    )
    try:
        _run(attempt, builder.pushing(reference), cure=cure)
    finally:
        builder.let_go(reference)
    found = engine.find(reference)
    if found is None:
        raise BuildError(
            f"The registry does not show the image {reference}, which was pushed a moment ago.",
            cure="The login of this user must be allowed to pull it, too.",
        )
    return found


def _secrets(attempt: Attempt) -> dict[str, str]:
    """The values of those that the Dockerfile's steps may read. Raises BuildError for one that is nowhere."""
    known = attempt.environment()
    missing = [name for name in attempt.app.image.build_secrets if name not in known]
    if missing:
        raise BuildError(
            f"The build secret {missing[0]} has no value.",
            cure=f"Write it in secrets, env_file or pass_env of app.{attempt.app.name}.",
        )
    return {name: known[name] for name in attempt.app.image.build_secrets}


def _had(engine: Engine, reference: str) -> Image:
    found = engine.find(reference)
    if found is None:
        raise BuildError(
            f"{engine.name} has no image {reference}, which was there a moment ago.",
            cure="If somebody removes images here, deploy again.",
        )
    return found


def _run(
    attempt: Attempt,
    argv: Sequence[str],
    secrets: Mapping[str, str] = MappingProxyType({}),
    *,
    cure: str = "",
) -> None:
    """Run the engine's own program, as who deploys: it has the login at the registry. `cure` as in `run_all`."""
    app, host = attempt.app, attempt.host
    command = Command(argv, host.root, {**secrets, **of_engine(host), **passed(app, host.environ)}, None)
    run_all(
        *(attempt, Phase.BUILD, [(shlex.join(argv), command)]),
        timeout=app.build.timeout,
        failure=BuildError,
        limits=app.build.limits,
        changes_files=False,
        cure=cure,
    )
