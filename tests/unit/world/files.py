"""What apps write in the model, and the links that slots have to it.

Each instance writes numbers to ``data`` of its slot. No number may ever be gone, and a running version sees all that
it wrote, after each deed of a deployer's. 0 is what a version's commit tracks there: git has it, and it may go.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from substitute.core.ports.files import Kind, Seen

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.world.instances import Instance
    from tests.unit.world.world import World

NAME, TRACKED = "data", 0


@lru_cache(10_000)
def _data_in(directory: Path) -> Path:
    """Looked for at each deed, of each instance."""
    return directory / NAME


@dataclass
class Data:
    """The disk, as far as it holds what apps wrote."""

    contents: dict[Path, frozenset[int]] = field(default_factory=dict)
    links: dict[Path, Path] = field(default_factory=dict)
    written: set[int] = field(default_factory=set)
    seen: dict[str, frozenset[int]] = field(default_factory=dict)
    """What each running instance saw when it was last looked at."""

    def end(self, path: Path) -> Path:
        return self.links.get(path, path)

    def view(self, directory: Path) -> frozenset[int]:
        """What somebody who works in `directory` sees."""
        return self.contents.get(self.end(_data_in(directory)), frozenset()) - {TRACKED}

    def write(self, directory: Path) -> None:
        number = len(self.written) + 1
        self.written.add(number)
        end = self.end(_data_in(directory))
        self.contents[end] = self.contents.get(end, frozenset()) | {number}

    def track(self, directory: Path, version: str) -> None:
        """Git makes the tracked file, or removes it; a link is in its way, and is replaced."""
        path = directory / NAME
        if version == "v3":
            self.links.pop(path, None)
            self.contents[path] = frozenset({TRACKED})
        elif path in self.contents:
            self.contents[path] -= {TRACKED}
            if not self.contents[path]:
                del self.contents[path]

    def lost(self) -> set[int]:
        return self.written - frozenset().union(*self.contents.values())


@dataclass
class ModelFiles:
    world: World

    @property
    def data(self) -> Data:
        return self.world.data

    def open(self, place: Path) -> None:
        self.world.deed(f"open {place.name}", OSError(errno.ENOSPC, "No space left on device"))

    def look(self, path: Path) -> Seen | None:
        self.world.look()
        if path in self.data.links:
            end = self.data.links[path]
            return Seen(Kind.LINK, empty=end not in self.data.contents, target=end, end=end)
        if path in self.data.contents:
            return Seen(Kind.DIRECTORY, empty=not self.data.contents[path])
        if any(path in other.parents for other in self.data.contents):
            return Seen(Kind.DIRECTORY)
        return None

    def real(self, path: Path) -> Path:
        return path

    def link(self, path: Path, leads: Path) -> None:
        self._deed("link", path)
        assert path not in self.data.contents
        self.data.links[path] = leads

    def make(self, path: Path) -> None:
        self._deed("make", path)
        self.data.contents.setdefault(path, frozenset())

    def touch(self, path: Path) -> None:
        raise AssertionError(path)  # no app of the model's is in a container

    def move(self, path: Path, to: Path) -> None:
        self._deed("move", path)
        if any(one.directory == path.parent for one in self.world.instances):
            self.world.wrong(f"{path} was moved while it was used")
        self._put(path, to)

    def exchange(self, path: Path, to: Path, leads: Path) -> None:
        self._deed("exchange", path)
        self._put(path, to)
        self.data.links[path] = leads

    def remove(self, path: Path) -> None:
        self._deed("remove", path)
        if path not in self.data.links:
            del self.data.contents[path]
        self.data.links.pop(path, None)

    def _deed(self, what: str, path: Path) -> None:
        self.world.deed(
            f"{what} {path.relative_to(self.world.root)}", OSError(errno.ENOSPC, "No space left on device")
        )

    def _put(self, path: Path, to: Path) -> None:
        assert not self.data.contents.get(to)
        self.data.contents[to] = self.data.contents.pop(path)


def held_by(world: World, instance: Instance) -> None:
    """A running version sees all that it saw before."""
    now = world.data.view(instance.directory)
    if not now >= world.data.seen.get(instance.name, frozenset()):
        world.wrong(f"{instance.name} does not see any more what it wrote")
    world.data.seen[instance.name] = now
