"""The remote repository: how its URL is shown, and what to type when git cannot get at it."""

from __future__ import annotations

import os
import pwd
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.errors import SourceError
from substitute.linux.users import acting_as
from substitute.values import dataclass

if TYPE_CHECKING:
    from substitute.linux.subprocesses import Captured
    from substitute.linux.users import Account

# Most commands need none of these patterns, so they are compiled where they are used.
_LOGIN = r"(?i)^(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<user>[^/:@\s]*)(?P<more>[^/\s]*)@"
_SSH_URL = r"^(?:git\+)?ssh(?:\+git)?://(?P<login>[^/:\s]+|[^/\s]*\[[^]]+\])(?::(?P<port>\d+))?(?:/|$)"
_SCP = r"^(?P<login>[^/:\s]+):"
_NOISE = ("warning:", "hint:", "remote:", "From ", "Cloning into", "done.")
_CHANGED_KEY = "REMOTE HOST IDENTIFICATION HAS CHANGED"
_REFUSED = r"could not read (Username|Password)|Authentication failed|Access denied"
_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")


def is_local(repo: str) -> bool:
    """Whether git takes `repo` for a path on this machine and not for a URL or ``host:path``."""
    return repo.startswith("file://") or ("://" not in repo and ":" not in repo.split("/", 1)[0])


def shown(repo: str) -> str:
    """Name `repo` without a secret: its password, and over HTTP its user too, for that may be a token."""
    found = re.match(_LOGIN, repo)
    if not found:
        return repo
    rest = repo[found.end() :]
    user = found["user"] if "ssh" in found["scheme"].lower() else "***"
    return f"{found['scheme']}://{user}@{rest}"


class EmptyRemoteError(SourceError):
    """The remote has nothing to deploy."""


@dataclass(frozen=True)
class Trouble:
    """Why a remote could not be read, and what helps."""

    fact: str
    cure: str = ""
    """Empty where nothing special is known."""


def reason(ended: Captured) -> str:
    """Say in one line why git failed, in its own words."""
    if ended.timed_out:
        return "It took too long."
    if _CHANGED_KEY in ended.err:  # in a frame of @
        return "The SSH key of the host is not the one that is known for it (host key verification failed)."
    lines = [line.strip() for line in ended.err.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(_NOISE)] or lines
    line = telling[0] if telling else f"git ended with status {ended.status}"
    line = re.sub(r"^(fatal|error): ", "", line)
    return line if line.endswith(".") else f"{line}."


@dataclass(frozen=True)
class Remote:
    """A remote repository as `become` gets at it, with the ssh of its own choice where it has made one."""

    repo: str
    """Empty where only git knows it: a submodule's."""
    become: Account | None
    ssh: str | None = None

    def trouble(self, ended: Captured) -> Trouble:
        """What a git that failed on it says, and the commands that let its user in."""
        fact, err, cure = reason(ended).replace(self.repo or "\0", shown(self.repo)), ended.err, ""
        if _CHANGED_KEY in err:
            forget = f"{self._as()}ssh-keygen -R {self._known_as}"
            cure = f"If it was changed on purpose, forget the old one (`{forget}`). {self._trust}"
        elif "Host key verification failed" in err:
            fact = f"{fact.rstrip('.')}: the host is not yet known to {self._whom}."
            cure = self._trust
        elif "Permission denied (" in err:
            cure = f"{self._give_key} Then `{self._ssh_command}` lets you in without a question."
        elif re.search(_REFUSED, err) or shown(self.repo) != self.repo:
            cure = self._give_password
        elif "Could not resolve host" in err:
            cure = "Check the name of the host in `repo`; `getent hosts NAME` tells whether this machine knows it."
        elif self.repo:
            command = f"{self._as('git')}git ls-remote {shown(self.repo)}"
            cure = f"Make `{command}` work for {self._whom} without a question."
        return Trouble(fact, cure)

    @property
    def _trust(self) -> str:
        how = "compare the fingerprint with the one that the host publishes, and answer yes."
        return f"Type `{self._ssh_command}`, {how}"

    @property
    def _give_key(self) -> str:
        if self.ssh:
            return f"Add the public key that `{self.ssh}` uses to the deploy keys of the repository."
        places = Path(self._home) / ".ssh"
        with suppress(OSError), acting_as(self.become):
            for name in _KEYS:
                if (places / name).exists():
                    return f"Add {places / name}.pub to the deploy keys of the repository; it may have no passphrase."
        new = places / _KEYS[0]
        make = f"{self._as()}ssh-keygen -t ed25519 -N '' -f {new}"
        return f"Make a key (`{make}`) and add {new}.pub to the deploy keys of the repository."

    @property
    def _give_password(self) -> str:
        if re.match(_LOGIN, self.repo):
            return "Check the user and the password or token in `repo`."
        git = f"{self._as('git')}git"
        return (
            "It asks for a user and a password, which nobody can type during a deployment. Use its SSH address in "
            f"`repo`, with a deploy key. Or keep a token: `{git} config --global credential.helper store`, then "
            f"`{git} ls-remote {self.repo or 'URL'}`."
        )

    @property
    def _ssh_command(self) -> str:
        login, port = self._address
        return f"{self._as()}{self.ssh or 'ssh'} -T {f'-p {port} ' if port else ''}{login}"

    @property
    def _known_as(self) -> str:
        login, port = self._address
        host = login.rpartition("@")[2].strip("[]")
        return f"'[{host}]:{port}'" if port else host

    @property
    def _address(self) -> tuple[str, str]:
        """``user@host``, and the port where it is named."""
        found = re.match(_SSH_URL, self.repo) or re.match(_SCP, self.repo)
        if not found or is_local(self.repo):
            return "HOST", ""
        return found["login"], found.groupdict().get("port") or ""

    @property
    def _whom(self) -> str:
        return f"the user {self.become.name}" if self.become else "your user"

    @property
    def _home(self) -> str:
        """As ssh finds it, which does not look at HOME."""
        if self.become:
            return self.become.home
        with suppress(KeyError):
            return pwd.getpwuid(os.geteuid()).pw_dir
        return "~"

    def _as(self, program: str = "ssh") -> str:
        """What stands before a command that another user has to run. git, unlike ssh, believes HOME."""
        if not self.become or not self.become.is_another:
            return ""
        home = f"env HOME={self.become.home} " if program == "git" else ""
        return f"runuser -u {self.become.name} -- {home}"
