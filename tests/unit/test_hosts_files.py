"""What is brought to a host comes into force whole, or not at all: the scripts, run by a real sh."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import pytest

from substitute.hosts.archives import brought
from substitute.hosts.asking import There
from substitute.hosts.channel import RemoteHost
from substitute.hosts.errors import HostError, NotInstalledError
from substitute.hosts.files import place
from substitute.hosts.ssh.transport import SshChannel
from substitute.linux.dialogue import Dialogue
from tests.unit.fakes.clock import FakeClock
from tests.unit.fakes.fleet import FakeTransport

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HOST = RemoteHost("web1", "deploy@web1")
CUT = 'head --bytes=5 | "$@"'
"""The connection ends after five bytes."""
FULL = 'ulimit -f 1; exec "$@"'
"""No file there can be longer than a block."""


class Here(FakeTransport):
    """This machine as a host, where something goes wrong with what is brought."""

    def __init__(self, trouble: str = 'exec "$@"') -> None:
        super().__init__()
        self._trouble = trouble

    def shell(  # type: ignore[override]
        self, host: RemoteHost, script: str, words: Sequence[str], given: IO[bytes] | None = None
    ) -> SshChannel:
        del host
        sh = ["/bin/sh", "-c"]
        trouble = [*sh, self._trouble, "sh"] if given else []
        return SshChannel(Dialogue([*trouble, *sh, script, "sh", *words], given=given))


def bring(root: Path, content: bytes, *, trouble: str = 'exec "$@"', how: str = "replace") -> str:
    given = root.parent / "given"
    given.write_bytes(content)
    with given.open("rb") as opened:
        there = There(Here(trouble), FakeClock(), str(root))
        return place(there, HOST, "substitute.toml", opened, how=how)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    made = tmp_path / "root"
    made.mkdir()
    return made


def names(root: Path) -> set[str]:
    return {one.name for one in root.iterdir()}


def test_what_was_there_is_kept_beside_it(root: Path) -> None:
    file = root / "substitute.toml"
    assert (bring(root, b"", how="missing"), file.read_bytes()) == ("written", b"")
    assert (bring(root, b"a file", how="missing"), file.read_bytes()) == ("kept", b"")
    assert (bring(root, b"a file"), file.read_bytes()) == ("written", b"a file")
    assert bring(root, b"a file") == "the same"
    assert names(root) == {"substitute.toml", "substitute.toml.before"}


@pytest.mark.parametrize(
    ("trouble", "said"),
    [(CUT, "Only 5 of its 8192 bytes"), (": | " + CUT, "Only 0 of its 8192 bytes"), (FULL, "")],
)
def test_half_a_file_comes_into_force_nowhere_and_is_not_left(root: Path, trouble: str, said: str) -> None:
    (root / "substitute.toml").write_bytes(b"what was there")
    with pytest.raises(NotInstalledError, match="could not be brought to web1") as raised:
        bring(root, b"new\n" * 2048, trouble=trouble)
    assert said in raised.value.fact
    assert (root / "substitute.toml").read_bytes() == b"what was there"
    assert names(root) == {"substitute.toml"}


def test_nothing_is_left_of_an_archive(root: Path, tmp_path: Path) -> None:
    (tmp_path / "shop.tar").write_bytes(b"what was built")
    there = There(Here(), FakeClock(), str(root))
    with brought(there, [HOST], tmp_path / "shop.tar") as (at, errors):
        assert not errors
        for left in (".new", ".before"):  # of one who was killed, of another who brought the same
            (root / f"{at.removeprefix(f'{root}/')}{left}").write_bytes(b"half")
    assert names(root / "deploy" / "run") == set()
    with brought(There(Here(CUT), FakeClock(), str(root)), [HOST], tmp_path / "shop.tar") as (_, errors):
        assert isinstance(errors["web1"], HostError)
    assert names(root / "deploy" / "run") == set()
