"""Scripts of the user's that run at fixed points of a deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.environment import (
    IN_A_HOOK,
    absolute_places,
    instance_environment,
    passed,
    whereabouts,
)
from substitute.core.model.errors import HookError, SubstituteError
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import SlotRecord

HOOKS = (
    "begin",
    "pre_checkout",
    "pre_install",
    "post_install",
    "pre_start",
    "post_start",
    "running",
    "pre_stop",
    "post_stop",
    "end",
)


AHEAD = ("pre_install", "post_install", "pre_start", "post_start", "running")
"""Those that are still to come when a slot's files are new, and whose failure fails the deployment."""


@dataclass(frozen=True)
class Hook:
    """A hook that is there."""

    name: str
    path: Path
    executable: bool
    apart: bool
    """The deployer's own, while all code of the repository's runs as somebody else."""
    user: str | None
    """Who it runs as; None is the deployer."""
    tracked: str
    """Its path in the repository; empty for the root's own."""

    @property
    def cure(self) -> str:
        """How one that failed is mended for good: in the slot the next update would undo it."""
        if not self.tracked:
            return f"Fix {self.path} and deploy again."
        return f"Fix {self.tracked} in the repository, commit, push, deploy again."

    def require_executable(self) -> None:
        """Raises HookError with the line that makes it executable."""
        if self.executable:
            return
        cure = f"Type `chmod +x {self.path}` and deploy again."
        if self.tracked:
            cure = f"In its repository type `git update-index --chmod=+x {self.tracked}`, commit, push, deploy again."
            if self.name not in AHEAD:  # it runs before the slot has the new files
                cure += f" This once type `chmod +x {self.path}` too: {self.name} runs before the update."
        raise HookError(f"The hook {self.name} is not executable.", fact=f"{self.path}", cure=cure)


def find_hook(host: Host, app: App, slot: SlotRecord, name: str) -> Hook | None:
    """The root's hook, else that of the app's directory, else the slot's: a file `name`, with any ending or none."""
    own = app.state_directory / "hooks"
    theirs = dict.fromkeys(place / ".substitute" / "hooks" for place in (slot.place(app), slot.directory))
    places = [(own, None, host.commands.is_another(app.user)), *((one, app.user, False) for one in theirs)]
    for directory, user, apart in places:
        found = host.commands.scripts(directory, user=user)
        for file in [name, *(file for file in sorted(found) if file.startswith(f"{name}."))]:
            if file in found and not file.endswith("~"):
                path = directory / file
                tracked = "" if directory == own else str(path.relative_to(slot.directory))
                return Hook(name, path, found[file], apart, user, tracked)
    return None


def require_executable(host: Host, app: App, slot: SlotRecord, names: Iterable[str] = AHEAD) -> None:
    """Each of the hooks `names` that is there can be started; asked before anything is built. Raises HookError."""
    for name in names:
        if hook := _found(host, app, slot, name):
            hook.require_executable()


def run_hook(
    host: Host,
    app: App,
    slot: SlotRecord,
    name: str,
    *,
    situation: Mapping[str, str],
    show: Callable[[str], None],
) -> None:
    """Run the hook `name` where there is one; `situation` is what it is told. Raises HookError when it fails."""
    hook = _found(host, app, slot, name)
    if hook is None:
        return
    hook.require_executable()
    try:
        ended = host.commands.run(
            [str(hook.path)],
            directory=app.root if hook.apart else _there(slot.place(app), slot.directory, app.root),
            environment={**_surroundings(host, app, slot, hook), **situation, IN_A_HOOK: name},
            on_line=show,
            on_start=lambda process: host.journal.command_started(app.name, process),
            timeout=app.hooks_timeout,
            user=hook.user,
        )
    except OSError as error:
        raise HookError(
            f"The hook {name} cannot be run.", fact=f"{hook.path}: {error.strerror}", cure=hook.cure
        ) from error
    host.journal.forget_commands(app.name)
    tail = "\n".join(f"  | {line}" for line in ended.tail)
    if ended.timed_out:
        raise HookError(
            f"The hook {name} did not end within {app.hooks_timeout:g}s.", fact=tail, cure=hook.cure
        )
    if ended.status:
        raise HookError(f"The hook {name} failed with exit status {ended.status}.", fact=tail, cure=hook.cure)


def _there(*places: Path) -> Path:
    """The first that is there: before the first update there is no slot, and may be no directory of the app's."""
    return next((place for place in places if place.is_dir()), places[-1])


def _found(host: Host, app: App, slot: SlotRecord, name: str) -> Hook | None:
    try:
        return find_hook(host, app, slot, name)
    except OSError as error:
        raise HookError(
            f"The hook {name} cannot be looked for.", fact=f"{error.filename}: {error.strerror}"
        ) from error


def _surroundings(host: Host, app: App, slot: SlotRecord, hook: Hook) -> Mapping[str, str]:
    """The app's environment; for the deployer's own hook nothing by which the repository could get at the deployer."""
    given = {**host.caller, **passed(app, host.environ)}
    if not hook.apart:
        return instance_environment(app, slot, given)
    caller = {**given, "PATH": absolute_places(host.caller.get("PATH", ""))}
    try:
        view = host.source(app).view(slot.directory, app.state_directory / "git")
    except SubstituteError:  # a hook that looks at no commit need not fail
        view = {}
    return {**caller, **whereabouts(slot), **view}
