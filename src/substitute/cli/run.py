"""``substitute run``."""

from __future__ import annotations

from substitute.cli.command import argument, command, option
from substitute.cli.options import (
    SLOTS,
    Call,
    app_option,
    host_options,
    json_option,
    one_of,
    root_option,
    wait_option,
)


@command
@argument("words", metavar="-- CMD...", takes_all=True)
@option(
    "--slot",
    metavar="SLOT",
    click_type=one_of(SLOTS),
    help="Run it in that slot: a, b.  [default: the live one]",
)
@option(
    "--detach",
    is_flag=True,
    help="Let it go on when the terminal is closed, print its name (run-7), and return as soon as it has begun.",
)
@wait_option
@app_option
@json_option
@root_option
@host_options
def run(call: Call, words: tuple[str, ...], slot: str | None, app: str | None, *, detach: bool) -> int:
    """Run CMD in the live version: in its directory, with its environment and secrets, as its user.

    CMD is no line for a shell: type `-- sh -c '...'` where you want one. It has your terminal, or what standard input
    and output are redirected to, and the exit status is CMD's; 128 + n if signal n ended it.

    A deployment that needs the slot refuses to change its files while CMD runs. If the version stops being live, CMD
    goes on. "status" lists what runs, "history --runs" what ran.

    With --hosts or --on: on exactly one host it is as if you typed it there, with your terminal or what is redirected.
    Several run it at the same time: each line that is written has the host's name before it, and CMD has no standard
    input.

    In a cluster CMD has no standard input, and its output is lines of text. A file or a pipe with something in it is
    refused.

    With --detach, "logs run-7" shows what it writes, and "stop run-7" ends it.
    """
    from substitute.core.model.slots import SlotName  # noqa: PLC0415
    from substitute.core.operate import one_offs  # noqa: PLC0415

    site = call.site(call.console if call.obeys and not detach else call.console.aside)
    chosen = site.known(app)
    place = SlotName(slot) if slot else None
    if not detach:
        run_it = one_offs.run_in_lines if call.obeys else one_offs.run
        return run_it(site.host, chosen, words, slot=place)
    record = one_offs.run_detached(site.host, chosen, words, site.keep, slot=place)
    call.console.detached(record, one_offs.log_of(chosen, record))
    return 0
