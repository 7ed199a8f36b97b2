"""The settings of an app, in the groups that substitute.toml has. Times are seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.programs import BuildLimits
from substitute.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from substitute.core.model.secrets import SecretSource


@dataclass(frozen=True)
class Build:
    """What a version is built by, in its directory."""

    commands: tuple[str, ...] = ()
    timeout: float = 1800.0
    """For all commands together, and for each call of the source's program."""
    limits: BuildLimits = field(default_factory=BuildLimits)


@dataclass(frozen=True)
class Release:
    """What a deployment runs once, with the new code, before anything of it starts: migrations."""

    commands: tuple[str, ...] = ()
    timeout: float = 1800.0
    """For all together."""


@dataclass(frozen=True)
class Verify:
    """How long both versions have clients before a deployment is committed."""

    seconds: float = 0.0
    share: int = 50
    """Percent of the new clients that the candidate gets meanwhile."""


@dataclass(frozen=True)
class CanaryStep:
    """A share of the clients for a time."""

    share: int
    """Percent."""
    seconds: float


@dataclass(frozen=True)
class Canary:
    """How a candidate comes to its clients. Without steps it is verified for a time, as `verify` says."""

    steps: tuple[CanaryStep, ...] = ()
    judge: bool = True
    """What both versions answer is compared, and a candidate that is worse is stopped."""
    synthetic: float = 0.0
    """Requests a second that are sent besides those of clients, for the pages of `health.warm`."""
    needs_traffic: bool = False
    """Where too little was seen to tell, the candidate does not become live."""


@dataclass(frozen=True)
class Replay:
    """Pages that clients asked for lately, which both versions are asked for before the candidate has a client."""

    last: int = 0
    """How many different ones at most; 0: none."""
    fail: bool = False
    """What differs fails the deployment."""
    timeout: float = 60.0
    """For all together."""
    skip: tuple[str, ...] = ()
    """What begins with one of these is not asked for."""


@dataclass(frozen=True)
class Waves:
    """When the streams (WebSockets, event streams) of a version that leaves are ended, in seconds."""

    after: float
    """From the start of its drain to the first."""
    over: float
    """From the first to the last."""

    @property
    def end(self) -> float:
        """From the start of the drain to the last."""
        return self.after + self.over


@dataclass(frozen=True)
class Drain:
    """How a version that leaves finishes what it has under way."""

    timeout: float
    background: bool = False
    """A deployment does not wait until the version before has finished its requests."""
    waves: Waves | None = None
    """Streams are ended in waves; None: they are waited for as requests are."""

    @property
    def limit(self) -> float:
        """Seconds that what is under way may take: no less than the waves of its streams do."""
        return max(self.timeout, self.waves.end if self.waves else 0.0)


@dataclass(frozen=True)
class Standby:
    """How long the version before runs on without requests."""

    seconds: float = 0.0
    """Infinity: until its slot is needed."""
    frozen: bool = False
    """Meanwhile it gets no processor time."""


@dataclass(frozen=True)
class Secrets:
    """The variables of an app whose values are written down nowhere in substitute.toml."""

    file: str | None = None
    """The ``env_file``, as it is written: relative to the root."""
    of_file: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What that says."""
    problem: str = ""
    """Why it cannot be used; then what it says is not known, and nothing may be started without it."""
    sources: Mapping[str, SecretSource] = field(default_factory=dict)
    """Where the other ones come from, by the names of the variables."""
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The values of these, once they were asked for."""


@dataclass(frozen=True)
class AppImage:
    """What an app is whose versions run in containers; all of it is empty for one that runs on this machine itself."""

    name: str = ""
    """The image whose tags are deployed, or with ``{commit}`` in it the one of a commit, wherever that is built."""
    dockerfile: str = ""
    """What an image is built by, in its directory; where it has a `name` too, it is pushed there."""
    build_args: Mapping[str, str] = field(default_factory=dict)
    """What that is given as arguments: no secrets."""
    build_secrets: tuple[str, ...] = ()
    """The variables of the app, and of `pass_env`, whose values its steps may read, and which are in no image."""
    port: int | None = None
    """The port that it listens on in its container; None: it listens on its own of this machine, as PORT says."""
    engine: str = ""
    """What runs its containers: ``podman``, ``docker`` or ``kubernetes``."""
    id: str = ""
    """The image of the version at hand, once that is known."""


@dataclass(frozen=True)
class Trials:
    """Paths of requests that are under way when a check tells an instance to stop; by default the health check's."""

    slow: str | None = None
    """Its answer takes its time in the app."""
    large: str | None = None
    """Its answer is large, and is read late."""
    upload: str | None = None
    """It takes a POST, whose body is held back."""
