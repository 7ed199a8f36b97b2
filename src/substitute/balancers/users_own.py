"""What nginx, Traefik and the balancers that are never changed have in common: they are programs of the user's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from substitute.core.model.errors import UnmovedError
from substitute.io.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.balancer import Backend


class UsersOwn(ABC):
    """The part of `core.ports.balancer.Balancer` that is the same for all of them."""

    @abstractmethod
    def route(self, backends: Sequence[Backend]) -> None:
        """See `core.ports.balancer.Balancer`."""

    def pending(self, backends: Sequence[Backend]) -> str:
        """Nothing: whatever it takes, `route` does it."""
        del backends
        return ""

    def reload(self, backends: Sequence[Backend]) -> None:
        """The same as `route`."""
        self.route(backends)

    def previews(self, backend: Backend) -> Sequence[str]:
        """It can't: who asks for which version is a matter of the user's configuration."""
        del backend
        return ()

    def access_log(self, app: str) -> None:
        """It has a log of its own, in a format of its user's."""
        del app

    def streams(self, endpoints: Collection[Endpoint]) -> Sequence[str]:
        """None: it can't be asked for single ones."""
        del endpoints
        return ()

    def end_streams(self, streams: Sequence[str]) -> int:
        """Ends none, for it names none."""
        del streams
        return 0

    def notices_after(self) -> float:
        """It reads its file at once."""
        return 0.0

    def fronts(self) -> Sequence[str]:
        """The addresses in its own file."""
        return ()


class OurFile:
    """The one file of the user's balancer that substitute writes. `cure`: what to do where it can't be written."""

    def __init__(self, path: Path, cure: str) -> None:
        self.path = path
        self._cure = cure

    def __str__(self) -> str:
        return str(self.path)

    def read(self) -> str | None:
        """What is in it; None where there is none. Raises UnmovedError."""
        try:
            return self.path.read_text()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise UnmovedError(f"{self.path} cannot be read.", fact=str(error)) from error

    def write(self, text: str) -> None:
        """Replace the file. Raises UnmovedError."""
        try:
            write_atomically(self.path, text, mode=0o644)
        except OSError as error:
            raise UnmovedError(
                f"{self.path} cannot be written.", fact=error.strerror or str(error), cure=self._cure
            ) from error
