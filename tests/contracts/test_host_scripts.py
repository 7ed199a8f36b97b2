"""The scripts that `substitute hosts setup` runs on a host, in a real sh."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from substitute.hosts.files import _PLACE
from substitute.hosts.setup import _INSTALL

if TYPE_CHECKING:
    from pathlib import Path

GOOD = (
    'echo "$@" >>"$HOME/installed"; here=$(dirname "$0"); echo "echo substitute 2.0" >"$here/substitute"; '
    'chmod +x "$here/substitute"'
)
"""A pip that installs a substitute."""


class There:
    """A home on a host."""

    def __init__(self, home: Path) -> None:
        self.home, self.bin = home, home / "bin"
        self.bin.mkdir()

    def program(self, name: str, text: str) -> None:
        file = self.bin / name
        file.write_text(text)
        file.chmod(0o755)

    def run(self, script: str, *words: str, given: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", script, "substitute", *words],
            env={"HOME": str(self.home), "PATH": f"{self.bin}:/usr/bin:/bin"},
            cwd=self.home,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def there(tmp_path: Path) -> There:
    return There(tmp_path)


def python(pip: str) -> str:
    """A Python whose venv has this pip."""
    return f"""\
#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
  mkdir -p "$4/bin"
  cat >"$4/bin/pip" <<'PIP'
#!/bin/sh
{pip}
PIP
  chmod +x "$4/bin/pip"
fi
"""


def test_the_same_version_is_left_alone(there: There) -> None:
    there.program("substitute", "#!/bin/sh\necho substitute 2.0\n")
    there.program("python3", "#!/bin/sh\nexit 9\n")
    done = there.run(_INSTALL, "2.0", "substitute-deploy==2.0")
    assert (done.returncode, done.stdout) == (0, "present\n")


def test_it_is_installed_where_it_is_missing_and_found_afterwards(there: There) -> None:
    there.program("python3", python(GOOD))
    done = there.run(_INSTALL, "2.0", "substitute-deploy==2.0")
    assert (done.returncode, done.stdout) == (0, "installed\n"), done.stderr
    assert "substitute-deploy==2.0" in (there.home / "installed").read_text()
    assert (there.home / ".local/bin/substitute").resolve().is_relative_to(there.home / ".local/share")
    assert there.run(_INSTALL, "2.0", "substitute-deploy==2.0").stdout == "present\n"


def test_another_one_that_comes_first_is_named(there: There) -> None:
    there.program("substitute", "#!/bin/sh\necho substitute 1.0\n")
    there.program("python3", python(GOOD))
    done = there.run(_INSTALL, "2.0", "substitute-deploy==2.0")
    assert done.returncode == 3
    assert f"{there.bin}/substitute is substitute 1.0, and comes before" in done.stderr


def test_what_pip_says_is_told(there: There) -> None:
    there.program("python3", python('echo "No matching distribution" >&2; exit 1'))
    done = there.run(_INSTALL, "2.0", "substitute-deploy==2.0")
    assert done.returncode != 0
    assert "No matching distribution" in done.stderr
    assert not (there.home / ".local/bin/substitute").exists()


def test_a_host_without_a_python_is_told_what_to_install(there: There) -> None:
    for name in ("python3", *(f"python3.{minor}" for minor in range(11, 15))):
        there.program(name, "#!/bin/sh\nexit 1\n")
    done = there.run(_INSTALL, "2.0", "substitute-deploy==2.0")
    assert done.returncode == 3
    assert "apt-get install python3-venv" in done.stderr


def test_a_file_is_brought_and_one_that_differs_is_kept_beside_it(there: There) -> None:
    bring = (_PLACE, "srv/shop", "substitute.toml", "replace", "3")
    file = there.home / "srv" / "shop" / "substitute.toml"
    assert there.run(*bring, given="one").stdout == "written\n"
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("one", 0o600)
    assert there.run(*bring, given="one").stdout == "the same\n"
    assert there.run(*bring, given="two").stdout == "written\n"
    assert file.read_text() == "two"
    assert file.with_name("substitute.toml.before").read_text() == "one"
    assert sorted(one.name for one in file.parent.iterdir()) == ["substitute.toml", "substitute.toml.before"]


def test_what_is_to_be_there_only_where_it_is_missing_is_left_alone(there: There) -> None:
    bring = (_PLACE, "shop", "env/shop.env", "missing", "3")
    assert there.run(*bring, given="A=1").stdout == "written\n"
    assert there.run(*bring, given="A=2").stdout == "kept\n"
    assert (there.home / "shop" / "env" / "shop.env").read_text() == "A=1"
