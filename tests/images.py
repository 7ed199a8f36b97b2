"""Images of this machine's own files: no registry, no image of anybody's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path
from typing import IO

PYTHON = Path(sys.executable).resolve()
"""The program that is in it."""
_PROGRAMS = ("sh", "true", "cat", "sleep", "env", "id", "ls", "kill")
_PASSED_OVER = frozenset({"test", "idlelib", "site-packages", "dist-packages", "lib2to3", "tkinter"})


def write_python(out: IO[bytes]) -> None:
    """Write a tar of Python, a shell and a few programs, with the libraries that they need, each where it is here."""
    programs = [PYTHON, *(Path("/bin") / name for name in _PROGRAMS)]
    stdlib = Path(sysconfig.get_path("stdlib")).resolve()
    needed = [*programs, *(stdlib / "lib-dynload").glob("*.so")]
    told = subprocess.run(["ldd", *needed], capture_output=True, text=True, check=False).stdout
    libraries = {Path(found.rstrip(":")) for found in re.findall(r"/\S+\.so\S*", told)}
    with tarfile.open(fileobj=out, mode="w|") as tar:
        seen: set[str] = set()
        for top in ("/bin", "/lib", "/lib64"):
            if Path(top).is_symlink():
                _add(tar, top, seen)
        for path in (*programs, *sorted(libraries)):
            _add(tar, str(path), seen)
        for place, directories, files in os.walk(stdlib):
            directories[:] = [
                one for one in directories if one not in _PASSED_OVER and not one.startswith("config-")
            ]
            for name in files:
                _add(tar, os.path.join(place, name), seen)  # noqa: PTH118


def _add(tar: tarfile.TarFile, path: str, seen: set[str]) -> None:
    """A file, and where it is a link what that leads to; in the directory that it is really in."""
    parent, name = os.path.split(os.path.normpath(path))
    path = os.path.join(os.path.realpath(parent), name)  # noqa: PTH118
    if path in seen or not os.path.lexists(path):
        return
    seen.add(path)
    tar.add(path, recursive=False)
    if Path(path).is_symlink():
        _add(tar, os.path.join(os.path.dirname(path), os.readlink(path)), seen)  # noqa: PTH118, PTH115, PTH120
