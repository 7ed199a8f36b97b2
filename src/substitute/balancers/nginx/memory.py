"""What nginx was last seen to obey: the file alone can't tell, for a command may be killed before the reload."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from substitute.core.model.programs import Process
from substitute.io.files import write_atomically
from substitute.values import dataclass


@dataclass(frozen=True)
class Obeyed:
    """A master, the text that its workers serve by, and where it keeps its pid."""

    digest: str
    master: Process
    pid_file: Path


def digest(text: str) -> str:
    """A name for a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def remember(path: Path, obeyed: Obeyed) -> None:
    """Write it down; a power loss keeps it or the earlier one."""
    master = obeyed.master
    said = {
        "digest": obeyed.digest,
        "master": [master.pid, master.start_time, master.boot_id],
        "pid_file": str(obeyed.pid_file),
    }
    write_atomically(path, json.dumps(said) + "\n")


def recall(path: Path) -> Obeyed | None:
    """What was written down, or None. What can't be read was not written by `remember`, and means nothing."""
    try:
        said = json.loads(path.read_text())
        pid, start_time, boot_id = said["master"]
        return Obeyed(said["digest"], Process(pid, start_time, boot_id), Path(said["pid_file"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
