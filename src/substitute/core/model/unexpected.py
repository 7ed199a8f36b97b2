"""What no code of ours foresaw, made an error like the others: it says what is known, and nothing is left half-done."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from substitute.core.model.errors import JournalError, SubstituteError

if TYPE_CHECKING:
    from collections.abc import Iterator


def expected(error: Exception) -> SubstituteError:
    """Return `error` itself where it is one of ours, else one that tells it."""
    match error:
        case SubstituteError():
            return error
        case sqlite3.Error():
            return JournalError("The journal cannot be read.", fact=str(error))
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return SubstituteError(
                "The operating system refused something.", fact=f"{where}{error.strerror or error}"
            )
        case _:
            return SubstituteError("This is a bug in substitute.", fact=f"{type(error).__name__}: {error}")


@contextmanager
def only_expected() -> Iterator[None]:
    """Raise nothing but SubstituteError (and what is no Exception)."""
    try:
        yield
    except Exception as error:
        ours = expected(error)
        if ours is error:
            raise
        raise ours from error
