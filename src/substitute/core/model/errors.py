"""Everything that can go wrong, in one tree.

    SubstituteError                 1
    ├── UsageError                  2   what was typed cannot be done
    │   └── ConfigError             2   substitute.toml
    ├── LockedError                 3   another command is under way, or somebody has locked deployments
    ├── JournalError                1   what is done can't be noted
    ├── NothingServesError          4   no version serves, and it could not be mended
    ├── InterruptedByUserError    130   Ctrl-C, SIGTERM, SIGHUP before the commit
    │   └── HandedOverError             one more of them, in a drain
    └── DeploymentFailedError       1   the earlier version serves
        (what a phase raises; the deployment adds who serves)
        ├── SourceError                 git
        ├── SharedError                 what both slots have in common
        ├── SecretError                 the value of a secret
        ├── BuildError                  a build command
        ├── ReleaseError                a release command
        ├── HookError                   a hook
        ├── RuntimeFailedError          starting or stopping a process
        ├── NotReadyError               health
        ├── ReplayError                 the new version answers otherwise than the live one
        ├── LeftoverError               who serves is settled; something that shall not run could not be stopped
        └── BalancerError               traffic could not be moved
            ├── UnmovedError                and the balancer goes on as it did
            └── UnobservedError             what it does can't be seen at this moment

The number is the exit status of the command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.core.model.events import Drained
    from substitute.core.model.slots import SlotName


class SubstituteError(Exception):
    """An expected failure: what failed, the fact seen, what serves now, the next command to type."""

    exit_status: ClassVar[int] = 1

    def __init__(self, what: str, *, fact: str = "", serves: str = "", cure: str = "") -> None:
        """Each part is a sentence or empty; `fact` may have several lines (the end of a log)."""
        super().__init__(what)
        self.what = what
        self.fact = fact
        self.serves = serves
        self.cure = cure

    @property
    def reason(self) -> str:
        """What failed and the fact seen, as one text."""
        own_lines = "\n" in self.fact or self.fact.startswith(" ")
        return f"{self.what}\n{self.fact}" if own_lines else f"{self.what} {self.fact}".strip()

    def __str__(self) -> str:
        return "\n".join(part for part in (self.reason, f"{self.serves} {self.cure}".strip()) if part)


class UsageError(SubstituteError):
    """What was typed cannot be done; nothing was changed."""

    exit_status = 2


class ConfigError(UsageError):
    """substitute.toml cannot be used. `problems` lists every one, not only the first."""

    def __init__(self, what: str, *, problems: tuple[str, ...] = (), cure: str = "") -> None:
        super().__init__(what, fact="\n".join(problems), cure=cure)
        self.problems = problems


class LockedError(SubstituteError):
    """Another command on the app holds the lock, or somebody has locked deployments."""

    exit_status = 3


class JournalError(SubstituteError):
    """The journal cannot be written: its disk is full, or read-only."""


class NothingServesError(SubstituteError):
    """No version serves and it could not be mended."""

    exit_status = 4


class InterruptedByUserError(SubstituteError):
    """Ctrl-C, SIGTERM or SIGHUP came before the commit; the earlier version serves."""

    exit_status = 130


class HandedOverError(InterruptedByUserError):
    """A second signal came in a drain, or a worker finishes its job behind the deployment: the guardian goes on.

    Raised to `core.deploy.deployment` only.
    """

    def __init__(self, what: str, drained: Drained | None = None) -> None:
        super().__init__(what)
        self.drained = drained
        """What became of the requests, where that is known."""


class DeploymentFailedError(SubstituteError):
    """The deployment failed before its commit; the earlier version serves."""


class SourceError(DeploymentFailedError):
    """The commit could not be brought into the slot."""


class SharedError(DeploymentFailedError):
    """What both slots have in common could not be laid."""


class SecretError(DeploymentFailedError):
    """The value of a secret could not be had."""


class BuildError(DeploymentFailedError):
    """A build command failed."""


class ReleaseError(DeploymentFailedError):
    """A release command failed."""


class HookError(DeploymentFailedError):
    """A hook failed."""


class RuntimeFailedError(DeploymentFailedError):
    """A process could not be started or stopped."""


class RemainsError(RuntimeFailedError):
    """Nothing runs any more, and something that was made for it could not be removed."""


class NotReadyError(DeploymentFailedError):
    """An instance did not become ready, or did not stay so."""

    command = ""
    """What it was started with, where it has ended."""


class WorseError(DeploymentFailedError):
    """The candidate of a canary is worse than the live version, or it could not be told."""


class ReplayError(DeploymentFailedError):
    """Pages that clients asked for lately are answered otherwise, and `replay.fail` says that this matters."""


class LeftoverError(DeploymentFailedError):
    """Who serves is settled, as said here; something that shall not run could not be stopped, or not be closed."""

    def __init__(
        self, left: Sequence[SubstituteError], live: SlotName | None, problem: str, drained: Drained
    ) -> None:
        first, *more = left
        facts = [first.fact, *(one.reason for one in more)]
        super().__init__(
            first.what,
            fact="\n".join(filter(None, facts)),
            cure=first.cure or "`substitute up` tries again.",
        )
        self.live = live
        self.problem = problem
        self.drained = drained


class BalancerError(DeploymentFailedError):
    """The balancer did not do what it was told."""


class UnmovedError(BalancerError):
    """The balancer could not be told. For all that is known it sends requests where it did."""


class UnobservedError(BalancerError):
    """What the balancer does with its traffic can't be seen at this moment. Asked again, it may be."""
