"""The journal, read through systemd's own library, which is there wherever systemd is: no program need be started."""

from __future__ import annotations

import ctypes
import time
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint64, c_void_p
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_LAG = 0.5
"""Seconds that the last lines of a program that ended may take to arrive."""
_QUIET = 0.05
_SECOND = 1_000_000


@cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libsystemd.so.0")
    library.sd_journal_open.argtypes = [POINTER(c_void_p), c_int]
    library.sd_journal_close.argtypes = [c_void_p]
    library.sd_journal_add_match.argtypes = [c_void_p, c_char_p, c_size_t]
    library.sd_journal_seek_realtime_usec.argtypes = [c_void_p, c_uint64]
    library.sd_journal_previous_skip.argtypes = [c_void_p, c_uint64]
    library.sd_journal_wait.argtypes = [c_void_p, c_uint64]
    library.sd_journal_set_data_threshold.argtypes = [c_void_p, c_size_t]
    library.sd_journal_get_data.argtypes = [c_void_p, c_char_p, POINTER(c_void_p), POINTER(c_size_t)]
    library.sd_journal_get_realtime_usec.argtypes = [c_void_p, POINTER(c_uint64)]
    for name in ("next", "process", "get_fd", "add_disjunction"):
        getattr(library, f"sd_journal_{name}").argtypes = [c_void_p]
    return library


def now() -> int:
    """Microseconds since the epoch."""
    return int(time.time() * _SECOND)


class Journal:
    """The lines of some units. Raises OSError where there is no journal to read.

    Of a user's program that ended at once journald does not find out the unit; so its units call themselves by it.
    """

    def __init__(self, units: list[str], *, user: bool, since: int | None = None) -> None:
        """Begin at `since`, microseconds since the epoch; without it, now."""
        self._lib = _library()
        self._field = "_SYSTEMD_USER_UNIT" if user else "_SYSTEMD_UNIT"
        self._journal = c_void_p()
        self._done(self._lib.sd_journal_open(byref(self._journal), 1))  # SD_JOURNAL_LOCAL_ONLY
        for unit in units:
            self._match(self._field, unit)
        self._done(self._lib.sd_journal_add_disjunction(self._journal))
        for unit in units:
            self._match("SYSLOG_IDENTIFIER", unit)
        self._lib.sd_journal_set_data_threshold(self._journal, 0)
        self._lib.sd_journal_get_fd(self._journal)  # from now on it sees new files
        self.since = now() if since is None else since
        self._lib.sd_journal_seek_realtime_usec(self._journal, self.since)

    def __del__(self) -> None:
        self._lib.sd_journal_close(self._journal)

    def new(self) -> Iterator[tuple[str, str]]:
        """Unit and line of everything that came since the previous call."""
        self._lib.sd_journal_process(self._journal)
        while self._lib.sd_journal_next(self._journal) > 0:
            yield from self._entry()

    def last(self, count: int) -> list[tuple[str, str]]:
        """The `count` entries before `since`; `new` goes on after them."""
        found: list[tuple[str, str]] = []
        if count > 0 and self._lib.sd_journal_previous_skip(self._journal, count) > 0:
            found += self._entry()
            while self._lib.sd_journal_next(self._journal) > 0 and self._time() < self.since:
                found += self._entry()
        self._lib.sd_journal_seek_realtime_usec(self._journal, self.since)
        return found[-count:]

    def wait(self, seconds: float) -> None:
        """Return when something was written, or after `seconds`."""
        self._lib.sd_journal_wait(self._journal, int(seconds * _SECOND))

    def _entry(self) -> Iterator[tuple[str, str]]:
        unit = self._get("SYSLOG_IDENTIFIER")
        unit = unit if unit.endswith(".service") else self._get(self._field)
        for line in self._get("MESSAGE").split("\n"):
            yield unit, line.rstrip("\r")

    def _match(self, field: str, value: str) -> None:
        match = f"{field}={value}".encode()
        self._done(self._lib.sd_journal_add_match(self._journal, match, len(match)))

    def _time(self) -> int:
        microseconds = c_uint64()
        self._lib.sd_journal_get_realtime_usec(self._journal, byref(microseconds))
        return microseconds.value

    def _get(self, field: str) -> str:
        data, length = c_void_p(), c_size_t()
        if self._lib.sd_journal_get_data(self._journal, field.encode(), byref(data), byref(length)) < 0:
            return ""
        return ctypes.string_at(data, length.value).partition(b"=")[2].decode(errors="replace")

    def _done(self, result: int) -> None:
        if result < 0:
            raise OSError(-result, "the journal cannot be read")


class Written:
    """The lines of one unit from now on (see `core.ports.runtime.Log`)."""

    def __init__(self, unit: str, *, user: bool) -> None:
        try:
            self._journal: Journal | None = Journal([unit], user=user)
        except OSError:
            self._journal = None

    def lines(self, *, ended: bool = False) -> list[str]:
        """What came since the previous call. journald is a moment behind the programs that write."""
        if self._journal is None:
            return []
        found = [line for _, line in self._journal.new()]
        deadline = time.monotonic() + _LAG
        quiet = time.monotonic() + _QUIET
        while ended and time.monotonic() < (min(quiet, deadline) if found else deadline):
            self._journal.wait(_QUIET)
            if more := [line for _, line in self._journal.new()]:
                found += more
                quiet = time.monotonic() + _QUIET
        return found
