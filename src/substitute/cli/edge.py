"""The edge: the one place where errors become messages and an exit status.

==== =========================================================================
  0  done; an old instance that could not be stopped, or was left to a background process, gets no requests: it is told
  1  it failed; what serves is told: the earlier version, or after the commit the new one. Or the machine refused
  2  usage or configuration
  3  another command is working on the app, a command of `substitute run` needs the slot, or somebody has locked
     deployments (`substitute lock`)
  4  nothing serves, and it could not be mended
 70  a bug in substitute: its traceback is on standard error
130  interrupted; the earlier version serves. What is half-done of `up`, `down`, `start` or `stop` is told
==== =========================================================================
"""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Any

from substitute.cli.options import COMPLETION_VARIABLE, ROOT, Call
from substitute.cli.table import command_of
from substitute.core.model.errors import SubstituteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.cli.command import Command

BUG = 70
"""EX_SOFTWARE of sysexits.h: unlike 1, it promises nothing about what serves."""
INTERRUPTED = 130


def run(arguments: Sequence[str], *, obeys: bool = False) -> int:
    """Run the command that `arguments` name; return the exit status. See `Call.obeys`."""
    if instruction := os.environ.get(COMPLETION_VARIABLE):
        from substitute.cli.group import complete  # noqa: PLC0415

        return complete(instruction)
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    call = Call(json="--json" in options, obeys=obeys)
    if not arguments:
        return _nothing_typed(call)
    try:
        return _written(call, _invoke(call, arguments))
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - this is the edge
        told = _told(call, error)
        if told is not None:
            call.console.error(told)
        return told.exit_status if told else SubstituteError.exit_status
    finally:
        call.close()


def _invoke(call: Call, words: Sequence[str]) -> int:
    if plain := _plainly(words):
        command, said = plain
        call.root = said.pop("root", None)
        said.pop("json", None)
        said.pop("wait", None)
        status = command.function(call, **said)
        return status if isinstance(status, int) else 0
    from substitute.cli.group import invoke  # noqa: PLC0415

    return invoke(call, words)


def _plainly(words: Sequence[str]) -> tuple[Command, dict[str, Any]] | None:
    """The command that was typed, and what for; None where it takes click to read it."""
    name, *more = words
    if name in ROOT.names and len(more) > 1:  # before the command's name or after it is the same
        name, more = more[1], [name, more[0], *more[2:]]
    command = command_of(name)
    said = command.read(more) if command else None
    return (command, said) if command and said is not None else None


def _written(call: Call, status: int) -> int:
    """`status`, or the error that the result could not be written whole."""
    why = call.unwritten()
    if why and status == 0:
        raise SubstituteError(
            "Not everything could be written to standard output.",
            fact=f"{why}.",
            cure="What was written is incomplete. Nothing else failed: make room, and type the command again.",
        )
    return status


def _nothing_typed(call: Call) -> int:
    """Show the help where a reader looks; for a script whose command was empty it is an error all the same."""
    from substitute.cli.group import commands, whole  # noqa: PLC0415

    call.console.lines(commands.get_help(whole()).splitlines())
    call.close()
    return UsageError.exit_status


def _told(call: Call, error: Exception) -> SubstituteError | None:
    """What the user is told of `error`; None is nothing."""
    match error:
        case SubstituteError():
            return error
        case BrokenPipeError() if _nobody_reads():
            return None
        case OSError():
            return _refused(error)
        case _:
            return _bug(call, error)


def _nobody_reads() -> bool:
    """Whether the reader of standard output went away (``substitute --help | true``)."""
    poll = select.poll()
    poll.register(1, 0)
    return any(seen & select.POLLERR for _, seen in poll.poll(0))


def _refused(error: OSError) -> SubstituteError:
    where = f"{error.filename}: " if error.filename else ""
    return SubstituteError(
        "The operating system refused something that substitute needs.",
        fact=f"{where}{error.strerror or error}.",
        cure="Fix that. Then `substitute up` brings everything in order, and `substitute status` shows it.",
    )


def _bug(call: Call, error: Exception) -> SubstituteError:
    import traceback  # noqa: PLC0415

    call.console.close()
    text = "".join(traceback.format_exception(error))
    call.console.err.write(text)
    return _BugError(text.splitlines()[-1])


class _BugError(SubstituteError):
    exit_status = BUG

    def __init__(self, last_line: str) -> None:
        super().__init__(
            "This is a bug in substitute. Please report it with the text above.",
            fact=last_line,
            cure="`substitute status` shows what serves; `substitute up` brings everything in order.",
        )
