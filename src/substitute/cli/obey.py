"""``substitute obey``: what `--hosts` runs on each host. It is for no person, and not in the help."""

from __future__ import annotations

from substitute.cli.command import argument, command
from substitute.cli.options import Call, root_option


@command
@argument("words", metavar="-- COMMAND...", takes_all=True)
@root_option
def obey(call: Call, words: tuple[str, ...]) -> int:
    """Run COMMAND as if it had been typed here, for somebody who is connected by ssh. Ends with its exit status."""
    import hashlib  # noqa: PLC0415  # slow to import

    from substitute import __version__  # noqa: PLC0415
    from substitute.cli.edge import run  # noqa: PLC0415
    from substitute.hosts.far_end import obey as obeyed  # noqa: PLC0415
    from substitute.wiring.site import IS_HOST  # noqa: PLC0415

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
    return obeyed(hello, lambda: run(["-C", str(site.root), *words]), alone=words[0] != "logs")
