"""``substitute config``."""

from __future__ import annotations

import os

from substitute.cli.command import command, option
from substitute.cli.options import Call, json_option, root_option


@command
@option("--schema", is_flag=True, help="Print the JSON Schema of substitute.toml instead.")
@json_option
@root_option
def config(call: Call, *, schema: bool) -> None:
    """Print the configuration: every key with its value, defaults included."""
    from substitute.config import document, find_root, load  # noqa: PLC0415
    from substitute.linux.owner import become_owner  # noqa: PLC0415

    if schema:
        call.console.document(document.schema())
        return
    root = find_root(directory=call.root, environ=os.environ)
    become_owner(root)
    found = load(root)
    if call.json:
        call.console.document(document.document(found))
    else:
        call.console.lines(document.describe(found).splitlines())
