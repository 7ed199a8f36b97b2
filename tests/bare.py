"""A bare Debian: what a server has on the day that somebody rents it. Programs are installed in it as users do.

It is made once a session by debootstrap, from where apt takes its packages here. What is written to one is thrown away.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self

REPOSITORY = Path(__file__).parents[1]
_PASSED_ON = (
    "PIP_",
    "UV_",
    "SSL_CERT_FILE",
    "REQUESTS_CA",
    "CURL_CA",
    "http_proxy",
    "https_proxy",
    "no_proxy",
)
"""How this machine reaches the indexes of packages."""
_ENTER = """
set -eu
place=$1 base=$2 source=$3; shift 3
mount -t tmpfs -o mode=755 tmpfs "$place"
mkdir "$place/upper" "$place/work" "$place/root"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$place/upper,workdir=$place/work" "$place/root"
root=$place/root
# Nothing of this machine's can be written from inside: what comes from here is copied.
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/shm"
for node in null zero full random urandom; do touch "$root/dev/$node"; mount --bind "/dev/$node" "$root/dev/$node"; done
ln -s /proc/self/fd "$root/dev/fd"
cp -r "$source" "$root/source"
mkdir "$root/passed"
for file in $FILES; do cp "$file" "$root/passed/"; done
cp /etc/resolv.conf "$root/etc/resolv.conf"
exec chroot "$root" "$@"
"""


class Debian:
    """The files of one, from entering to leaving."""

    def __enter__(self) -> Self:
        self._place = Path(tempfile.mkdtemp(prefix="bare-"))
        self._base = self._place / "base"
        subprocess.run([REPOSITORY / "tools/packages", "debootstrap"], check=True)
        release, mirror = _origin()
        subprocess.run(["debootstrap", "--variant=minbase", release, self._base, mirror], check=True)
        self._source = self._place / "source"
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for name in filter(None, listed.split("\0")):
            if (REPOSITORY / name).exists():
                (self._source / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / name, self._source / name)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._place)

    def run(self, script: str) -> str:
        """Run `script` as root of a fresh one, with a copy of this checkout in /source; what it said."""
        passed = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        files = {name: Path(value) for name, value in passed.items() if Path(value).is_file()}
        place = Path(tempfile.mkdtemp(dir=self._place))
        separate = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private"]
        enter: list[str | Path] = ["sh", "-c", _ENTER, "sh", place, self._base, self._source]
        done = subprocess.run(
            [*separate, *enter, "sh", "-euxc", script],
            env={
                **passed,
                **{name: f"/passed/{file.name}" for name, file in files.items()},
                "FILES": " ".join({str(file) for file in files.values()}),
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "HOME": "/root",
                "DEBIAN_FRONTEND": "noninteractive",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def _origin() -> tuple[str, str]:
    """The release that this machine takes its packages of, and where from."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(CODENAME) $(SITE)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    release, mirror = listed.splitlines()[0].split()
    return release, mirror
