"""The edge: the one place where errors become messages and an exit status.

==== =========================================================================
  0  done; an old instance that could not be stopped, or was left to a background process, gets no requests: it is told
  1  it failed; what serves is told: the earlier version, or after the commit the new one. Or the machine refused
  2  usage or configuration
  3  another command is working on the app
  4  nothing serves, and it could not be mended
 70  a bug in substitute: its traceback is on standard error
130  interrupted; the earlier version serves. What is half-done of `up`, `down`, `start` or `stop` is told
==== =========================================================================
"""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

import click
from click.exceptions import Exit
from click.shell_completion import shell_complete

from substitute.cli.group import commands
from substitute.cli.options import COMPLETION_VARIABLE, Call
from substitute.core.model.errors import SubstituteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

BUG = 70
"""EX_SOFTWARE of sysexits.h: unlike 1, it promises nothing about what serves."""
INTERRUPTED = 130


def run(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` name; return the exit status."""
    if instruction := os.environ.get(COMPLETION_VARIABLE):
        return shell_complete(commands, {"obj": Call()}, "substitute", COMPLETION_VARIABLE, instruction)
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    call = Call(json="--json" in options)
    if not arguments:
        return _nothing_typed(call)
    try:
        return _whole(call, _invoke(call, arguments))
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - this is the edge
        told = _told(call, error)
        if told is not None:
            call.console.error(told)
        return told.exit_status if told else SubstituteError.exit_status
    finally:
        call.close()


def _invoke(call: Call, arguments: Sequence[str]) -> int:
    try:
        with commands.make_context("substitute", list(arguments), obj=call) as context:
            status: object = commands.invoke(context)
    except Exit as done:  # --help and --version
        return done.exit_code
    return status if isinstance(status, int) else 0


def _whole(call: Call, status: int) -> int:
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
    context = click.Context(commands, info_name="substitute", **commands.context_settings)
    call.console.lines(commands.get_help(context).splitlines())
    call.close()
    return UsageError.exit_status


def _told(call: Call, error: Exception) -> SubstituteError | None:
    """What the user is told of `error`; None is nothing."""
    match error:
        case SubstituteError():
            return error
        case click.ClickException():
            return _usage_error(error)
        case BrokenPipeError() if _nobody_reads():
            return None
        case OSError():
            return _refused(error)
        case _:
            return _bug(call, error)


def _usage_error(error: click.ClickException) -> UsageError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "substitute"
    message = " ".join(error.format_message().split())  # click sets choices on lines of their own
    return UsageError(message, cure=f"`{path} --help` tells how it is used.")


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
