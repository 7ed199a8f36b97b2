"""Whether a line of shell can give way to the one program that it starts."""

from __future__ import annotations

import re
import shlex

_ASSIGNMENT = r"[A-Za-z_][A-Za-z0-9_]*="
_REDIRECTION = r"(?<!\\)[0-9]*[<>]&(?:[0-9]+|-)"
_SHELL_WORDS = frozenset(
    "! { } case do done elif else esac fi for function if in select then time until while . : alias bg break cd "  # noqa: SIM905
    "command continue eval exec exit export fc fg getopts hash jobs local readonly return set shift source times "
    "trap type ulimit umask unalias unset wait".split()
)
"""Reserved words and builtins, which cannot be exec'ed."""


def is_simple(command: str) -> bool:
    """Whether `command` is one simple command, so that it can replace the shell and get the signals itself."""
    if "\n" in command.strip() or "`" in command or "$(" in command:
        return False
    # `2>&1` separates nothing. In quotes it may mean something else, but what is quoted does not matter here.
    lexer = shlex.shlex(re.sub(_REDIRECTION, " ", command), posix=True, punctuation_chars=";&|()")
    lexer.whitespace_split = True
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError:
        return False
    program = next((word for word in words if not re.match(_ASSIGNMENT, word)), "")
    separated = any(set(word) <= set(";&|()") and word for word in words)
    return bool(program) and not separated and program not in _SHELL_WORDS


def begins_with_assignment(command: str) -> bool:
    """Whether it sets variables for its program, as ``FOO=1 node www.js``."""
    return bool(re.match(_ASSIGNMENT, command.lstrip()))
