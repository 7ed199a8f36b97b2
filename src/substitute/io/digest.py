"""SHA-256 as hashlib has it, whose import loads OpenSSL, for 2 ms."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from hashlib import _Hash as HASH

_MODULES = ("_sha2", "_sha256", "hashlib")
"""Python 3.12 has the first, Python 3.11 the second."""


def sha256(data: bytes) -> str:
    """The digest of `data`, in hexadecimal digits."""
    for module in _MODULES:
        try:
            made: Callable[[bytes], HASH] = import_module(module).sha256
        except ImportError:
            continue
        return made(data).hexdigest()
    raise AssertionError
