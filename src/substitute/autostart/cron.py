"""A line in the user's crontab."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.autostart import crontab
from substitute.core.model.errors import SubstituteError
from substitute.linux.root_names import root_hash

if TYPE_CHECKING:
    from substitute.autostart.command import Command

_PATIENCE = 60.0
_SPOOLS = (Path("/var/spool/cron/crontabs"), Path("/var/spool/cron"))
"""Where crontabs are with Debian's cron and BusyBox's, and with cronie: only root may look."""
_PLACE = "your crontab (`crontab -l`)"


class Cron:
    """See `autostart.Starter`."""

    kind = "cron"

    def __init__(self, root: Path) -> None:
        self._mark = root_hash(root)
        self._log = root / "deploy" / "run" / "boot.log"

    def where(self) -> str | None:
        """The crontab, where the line is in it."""
        return _PLACE if not _has_none() and crontab.has_line(_read(), self._mark) else None

    def install(self, command: Command) -> str:
        """Write the line into the crontab."""
        _write(crontab.with_line(_read(), command, self._mark, str(self._log)))
        return _PLACE

    def rest(self) -> None:
        """Nothing to end: cron runs the line once, and it ends by itself."""

    def uninstall(self) -> str | None:
        """Remove the line from the crontab."""
        before = _read()
        if not crontab.has_line(before, self._mark):
            return None
        _write(crontab.without_line(before, self._mark))
        return _PLACE


def _has_none() -> bool:
    """Whether it is plain that the user has no crontab; to run `crontab` takes longer than the rest of a `status`."""
    spools = [spool for spool in _SPOOLS if spool.is_dir()] if os.geteuid() == 0 else []
    return bool(spools) and not any((spool / pwd.getpwuid(0).pw_name).exists() for spool in spools)


def _read() -> str:
    from substitute.linux.subprocesses import capture  # noqa: PLC0415  # `status` seldom needs it

    try:
        done = capture(["crontab", "-l"], timeout=_PATIENCE)
    except OSError:
        return ""
    if done.status and "no crontab" not in done.err:  # else ours would replace lines that could not be read
        raise SubstituteError("Your crontab cannot be read.", fact=done.err.strip())
    return "" if done.status else done.out


def _write(text: str) -> None:
    from substitute.linux.subprocesses import capture  # noqa: PLC0415

    done = capture(["crontab", "-"], given=text, timeout=_PATIENCE)
    if done.status:
        raise SubstituteError("Your crontab cannot be written.", fact=done.err.strip())
