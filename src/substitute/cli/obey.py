"""``substitute obey``: what `--hosts` runs on each host. It is for no person, and not in the help."""

from __future__ import annotations

from substitute.cli.command import argument, command, option
from substitute.cli.options import Call, root_option


@command
@argument("words", metavar="-- COMMAND...", takes_all=True)
@option("--attached", is_flag=True)
@root_option
def obey(call: Call, words: tuple[str, ...], *, attached: bool) -> int:
    """Run COMMAND as if it had been typed here, for somebody who is connected by ssh. Ends with its exit status.

    With --attached it has the terminal or the pipes of the connection for itself, and ends with that.
    """
    import hashlib  # noqa: PLC0415  # slow to import

    from substitute import __version__  # noqa: PLC0415
    from substitute.cli.edge import run  # noqa: PLC0415
    from substitute.hosts.far_end import hang_up_with_connection  # noqa: PLC0415
    from substitute.hosts.far_end import obey as obeyed  # noqa: PLC0415
    from substitute.wiring.site import IS_HOST  # noqa: PLC0415

    if attached:
        hang_up_with_connection()
        return run([*(["-C", call.root] if call.root else []), *words])
    call.json = True  # an error of opening is for a program, too
    site = call.site_to_read()
    journal = site.host.journal
    if not journal.fact(IS_HOST):
        journal.remember(IS_HOST, "yes")
    latest = max((one.id for app in journal.names() for one in journal.history(app, 1)), default=0)
    file = site.root / "substitute.toml"
    hello = {
        "version": __version__,
        "root": str(site.root),
        "latest": latest,
        "configuration": hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else None,
    }
    return obeyed(hello, lambda: run(["-C", str(site.root), *words], obeys=True), alone=words[0] != "logs")
