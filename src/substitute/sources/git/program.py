"""Runs the user's git, so that nothing around it can make it wait, ask, or work elsewhere."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.errors import SourceError
from substitute.linux import processes
from substitute.linux.programs import find_program
from substitute.linux.subprocesses import Captured, capture
from substitute.linux.users import acting_as
from substitute.sources.git.remotes import Remote, reason
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from substitute.linux.users import Account

# A git hook that deploys has these in its environment: they name the repository of the hook.
_FOREIGN = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_CEILING_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_CONFIG",
        "GIT_DIR",
        "GIT_EXTERNAL_DIFF",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_REPLACE_REF_BASE",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)
_PERSONAL = frozenset(
    {
        "HOME",
        "USER",
        "LOGNAME",
        "SSH_AUTH_SOCK",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_RUNTIME_DIR",
        "GIT_CONFIG_GLOBAL",
    }
)
"""Of the one who deploys: places that another user may not enter."""
_FIXED = {
    "GIT_TERMINAL_PROMPT": "0",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
_BATCH_SSH = "ssh -o BatchMode=yes -o ConnectTimeout=20 -o ServerAliveInterval=15"
_SETTINGS = {
    # What a build wrote into the clone's configuration must not run here (husky sets hooksPath).
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "submodule.recurse": "false",
    # The slot may belong to the user that the app runs as.
    "safe.directory": "*",
    # A dead line is an error after a minute, not a wait for ever.
    "http.lowSpeedLimit": "1",
    "http.lowSpeedTime": "60",
}
_LOCKED = r"Unable to create '(?P<file>[^'\n]+\.lock)': File exists"
_CONFIG_LOCKED = r"could not lock config file (?P<file>[^\n]+): File exists"
_LOCKS = 20
"""How many locks one interrupted git can have left."""
_PATIENCE = 10.0
"""Seconds that a git which outlived its deployer is waited for."""


@dataclass(frozen=True)
class Limit:
    """How long one call of git may take."""

    seconds: float
    key: str
    """What gives it more."""


class TooLongError(SourceError):
    """A git past its limit. It says nothing of the clone, nor of whether the remote is there."""


class GitProgram:
    """Runs ``git`` with the app's surroundings."""

    def __init__(
        self,
        environment: Mapping[str, str],
        notice: Callable[[str], None],
        *,
        local: bool,
        become: Account | None = None,
        limit: Limit | None = None,
    ) -> None:
        """`local`: the repository is a path on this machine, so its submodules may be too.

        What `become` owns, that user may have turned into a trap: nothing in a slot of its is touched as root.
        """
        left_out = _FOREIGN | _PERSONAL if become else _FOREIGN
        if become and not become.is_another:  # its agent is the user's own
            left_out -= {"SSH_AUTH_SOCK"}
        kept = {name: value for name, value in environment.items() if name not in left_out}
        self._environment = {**kept, **_FIXED}
        self._notice = notice
        self._local = local
        self.become = become
        self._limit = limit
        # A repository on this machine may belong to another user, as a bare one of a user "git" does.
        self.serving = ("--upload-pack=git -c safe.directory='*' upload-pack",) if local else ()
        # By default git takes no submodule from a path: whoever writes .gitmodules could name any.
        settings = {**_SETTINGS, "protocol.file.allow": "always"} if local else _SETTINGS
        self._command = ["git", *(part for item in settings.items() for part in ("-c", "=".join(item)))]

    def run(
        self,
        directory: Path | None,
        *arguments: str,
        given: str | None = None,
        remote: bool = False,
        more: Mapping[str, str] | None = None,
    ) -> Captured:
        """Run ``git ARGUMENTS`` on the clone in `directory` (None: on none).

        Locks that an interrupted git left there are removed; `remote` says that it may use the network. `more` are
        variables for this one.
        Raises SourceError where git is missing or past its limit, or another git is at work in the clone.
        """
        environment = {**(self._with_ssh(directory) if remote else self._environment), **(more or {})}
        if directory is not None:
            # By name, so that a repository around the slot is never taken for the slot's own.
            environment = {**environment, "GIT_DIR": f"{directory}/.git", "GIT_WORK_TREE": str(directory)}
        for _ in range(_LOCKS):
            try:
                ended = capture(
                    [*self._command, *arguments],
                    directory=directory or Path("/"),
                    environment=environment,
                    timeout=self._limit.seconds if self._limit else None,
                    given=given,
                    become=self.become,
                )
            except FileNotFoundError as error:
                raise self._no_git(error) from error
            if ended.timed_out and self._limit:
                raise TooLongError(
                    f"`git {arguments[0]}` did not end within {self._limit.seconds:g}s and was stopped.",
                    cure=f"If it needs longer, raise {self._limit.key}.",
                )
            lock = _lock_in_the_way(ended.err) if ended.status and directory else None
            if lock is None or directory is None:
                break
            self._remove_stale(directory, directory / lock)
        return ended

    def demand(self, directory: Path | None, *arguments: str, failing: str, given: str | None = None) -> str:
        """Run as `run` does, return what git wrote; SourceError `failing`, with git's reason, if it fails."""
        ended = self.run(directory, *arguments, given=given)
        if ended.status:
            raise SourceError(failing, fact=reason(ended))
        return ended.out

    def configure(self, settings: Mapping[str, str]) -> None:
        """Have each git from now on obey these, whatever is configured elsewhere."""
        self._command += [part for item in settings.items() for part in ("-c", "=".join(item))]

    def finds(self, program: str) -> bool:
        """Whether git would find `program` on its PATH."""
        return find_program(program, path=self._environment.get("PATH")) is not None

    def has(self, variable: str) -> bool:
        """Whether it runs with a variable that is neither empty, 0 nor false."""
        return self._environment.get(variable, "").lower() not in {"", "0", "false"}

    def remote(self, repo: str) -> Remote:
        """The repository `repo`, as this git gets at it."""
        ssh = self._environment.get("GIT_SSH_COMMAND")
        return Remote(repo, self.become, None if ssh == _BATCH_SSH else ssh)

    def theirs(self) -> AbstractContextManager[None]:
        """For looking at files of a clone, and changing them: only what its owner could. No git may run in here."""
        return acting_as(self.become)

    def _with_ssh(self, directory: Path | None) -> Mapping[str, str]:
        environment = self._environment
        if not self._local and not {"GIT_SSH", "GIT_SSH_COMMAND"} & environment.keys():
            configured = self.run(directory, "config", "--get", "core.sshCommand").out.strip()
            # Kept, so that it is asked for once.
            self._environment = {**environment, "GIT_SSH_COMMAND": configured or _BATCH_SSH}
        return self._environment

    def _no_git(self, error: FileNotFoundError) -> SourceError:
        if find_program("git", path=self._environment.get("PATH")):
            return SourceError(f"{error.filename} is missing.")
        return SourceError(
            "git is not installed.",
            fact=f"It was looked for in PATH={self._environment.get('PATH', '')}.",
            cure="Install it (`apt install git`), and try again.",
        )

    def _remove_stale(self, directory: Path, lock: Path) -> None:
        deadline = time.monotonic() + _PATIENCE
        while working := _gits_in(directory):
            with self.theirs():
                if not lock.exists():
                    return
            if time.monotonic() > deadline:
                raise SourceError(
                    f"Another git is at work in {directory}.",
                    fact=f"It is pid {working[0]} and holds {lock.name}.",
                    cure="Wait until it is done, or end it; then try again.",
                )
            time.sleep(0.05)
        with self.theirs():
            left = lock.exists()
            lock.unlink(missing_ok=True)
        if left:
            self._notice(f"Removed {lock}, which an interrupted git had left.")


def _lock_in_the_way(err: str) -> str | None:
    if found := re.search(_LOCKED, err):
        return found["file"]
    if found := re.search(_CONFIG_LOCKED, err):
        return f"{found['file']}.lock"
    return None


def _gits_in(directory: Path) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            place = Path(os.readlink(entry / "cwd"))  # noqa: PTH115  # a deleted one is not resolved
        except OSError:
            continue
        if place.is_relative_to(directory) and processes.name(int(entry.name)).startswith("git"):
            found.append(int(entry.name))
    return found
