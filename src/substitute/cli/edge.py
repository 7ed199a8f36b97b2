"""The edge: the one place where errors become messages and an exit status.

==== =========================================================================
  0  done
  1  the deployment failed and the earlier version serves; or the machine refused
  2  usage or configuration
  3  another command is working on the app
  4  nothing serves, and it could not be mended
 70  a bug in substitute: its traceback is on standard error
130  interrupted; the earlier version serves
==== =========================================================================
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from substitute.cli.group import commands
from substitute.cli.options import Call
from substitute.core.errors import SubstituteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

BUG = 70
"""EX_SOFTWARE of sysexits.h: no promise about what serves goes with it, as with 1."""
INTERRUPTED = 130


def run(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` name; return the exit status. Nothing is raised but SystemExit."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    call = Call(json="--json" in options)
    try:
        status = commands.main(list(arguments), prog_name="substitute", standalone_mode=False, obj=call)
    except SubstituteError as error:
        call.console.error(error)
        return error.exit_status
    except click.ClickException as error:
        call.console.error(_usage_error(error))
        return UsageError.exit_status
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except OSError as error:
        call.console.error(_refused(error))
        return SubstituteError.exit_status
    except Exception as error:  # noqa: BLE001 - the edge
        return _bug(call, error)
    else:
        return status if isinstance(status, int) else 0
    finally:
        call.console.close()
        call.console.out.flush()  # here a reader that went away is no matter; at the interpreter's exit it is


def _usage_error(error: click.ClickException) -> UsageError:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "substitute"
    return UsageError(error.format_message(), cure=f"`{path} --help` tells how it is used.")


def _refused(error: OSError) -> SubstituteError:
    where = f"{error.filename}: " if error.filename else ""
    return SubstituteError(
        "The machine refused something that substitute needs.",
        fact=f"{where}{error.strerror or error}.",
        cure="Mend that; then `substitute up` brings everything in order, and `substitute status` shows it.",
    )


def _bug(call: Call, error: Exception) -> int:
    import traceback  # noqa: PLC0415

    text = "".join(traceback.format_exception(error))
    call.console.close()
    call.console.err.write(text)
    call.console.error(_Bug(text.splitlines()[-1]))
    sys.stderr.flush() if sys.stderr else None
    return BUG


class _Bug(SubstituteError):
    exit_status = BUG

    def __init__(self, last_line: str) -> None:
        super().__init__(
            "This is a bug in substitute, please report it with the text above.",
            fact=last_line,
            cure="`substitute status` shows what serves; `substitute up` brings everything in order.",
        )
