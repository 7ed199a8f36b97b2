"""What is asked of running instances: only who keeps them knows how one is told from all others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.programs import Process
    from substitute.core.model.slots import Endpoint


class Instances(Protocol):
    """What is asked of running instances, and of commands that run beside them."""

    def alive(self, process: Process) -> bool:
        """Whether it is still that process; a zombie is not."""

    def age(self, process: Process) -> float:
        """Seconds since it started."""

    def owned(self, endpoint: Endpoint, process: Process) -> bool | None:
        """Whether every listener on the port belongs to `process`, its descendants or its group.

        None while nobody listens.
        """

    def answering(self, name: str, endpoints: Sequence[Endpoint]) -> Sequence[Endpoint]:
        """Those of the `endpoints` of the instance `name` at which it can answer now.

        On one machine these are all of them; in a cluster those at the nodes that some of it is on.
        """

    def listens(self, endpoint: Endpoint, process: Process) -> bool:
        """Whether `process` itself holds a socket that listens on the port."""

    def listening(self, process: Process) -> frozenset[Endpoint]:
        """Every address and port that `process`, its descendants or its group listen on, as far as it can be seen."""

    def marked(
        self, marks: Mapping[str, str], users: Iterable[str | None], root: Path
    ) -> Mapping[Process, str]:
        """All that was started with the variables of `marks`, each with its name, whoever started it, wherever it is.

        It runs as one of `users` (None: the owner of the root's state), and works in no other root than `root`. Who
        asks, who started him, what he has started, and what a hook started are not among them.
        """

    def is_elsewhere(self, process: Process, root: Path) -> bool:
        """Whether it works in another root than `root`: a journal that names it was copied from there."""
