"""What a host needs: substitute of the same version, and a root with the same substitute.toml."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from substitute.hosts.errors import RefusedError
from substitute.hosts.files import place, run_script
from substitute.hosts.orders import Order
from substitute.hosts.ssh.command_line import PATH_THERE
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from substitute.hosts.asking import There
    from substitute.hosts.channel import RemoteHost

PACKAGE = "substitute-deploy"
_INSTALL = f"""\
set -eu
{PATH_THERE}
version=$1 package=$2
is_there() {{ [ "$(substitute --version 2>/dev/null || true)" = "substitute $version" ]; }}
if is_there; then echo "present"; exit 0; fi
for python in python3 python3.14 python3.13 python3.12 python3.11 none; do
  "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break
done
if [ "$python" = none ]; then
  echo "It has no Python 3.11 or later with venv (Debian: apt-get install python3-venv)." >&2; exit 3
fi
place=$HOME/.local/share/substitute/$version
"$python" -m venv --clear "$place" >&2
"$place/bin/pip" install --quiet --disable-pip-version-check "$package" >&2
mkdir -p "$HOME/.local/bin"
ln -sfn "$place/bin/substitute" "$HOME/.local/bin/substitute"
if ! is_there; then
  echo "$(command -v substitute) is $(substitute --version), and comes before ~/.local/bin on PATH." >&2; exit 3
fi
echo "installed"
"""


@dataclass(frozen=True)
class Bundle:
    """What is brought to each host."""

    version: str
    package: str
    """What pip installs where that version is not there."""
    configuration: bytes
    """The text of substitute.toml."""
    files: Mapping[str, bytes]
    """Others that it names, by their paths: brought where they are missing."""


def set_up(there: There, host: RemoteHost, bundle: Bundle) -> dict[str, str]:
    """Have the host have all of it, and what was done for that. May be done again. Raises HostError.

    A substitute.toml that is there and differs is kept beside the new one, as substitute.toml.before.
    """
    done = {
        "substitute": there.connecting(
            lambda: run_script(there, host, _INSTALL, [bundle.version, bundle.package])
        )
    }
    done["substitute.toml"] = _place(there, host, "substitute.toml", bundle.configuration)
    for name, content in bundle.files.items():
        done[name] = _place(there, host, name, content, how="missing")
    there.ask(host, ["config"])  # what is wrong with it on this host is told now
    Order(there, host, ["status"], lambda *_: None).greeted()  # from now on it knows that it is one of many
    try:
        boot = there.ask(host, ["install"])
    except RefusedError as error:
        done["boot"] = f"nothing starts it after a reboot: {error.reason}"
    else:
        done["boot"] = str(boot["boot"]["where"])
    return done


def _place(there: There, host: RemoteHost, name: str, content: bytes, how: str = "replace") -> str:
    with tempfile.TemporaryFile() as given:
        given.write(content)
        given.seek(0)
        return place(there, host, name, given, how=how)
