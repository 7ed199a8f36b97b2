"""``substitute resolve``: what `deploy --hosts` asks the first host. It is for no person, and not in the help."""

from __future__ import annotations

from substitute.cli.command import command, option
from substitute.cli.options import (
    Call,
    app_option,
    commit_argument,
    json_option,
    root_option,
    wait_option,
)


@command
@commit_argument
@option("--sha256", metavar="HEX")
@wait_option
@app_option
@json_option
@root_option
def resolve(call: Call, commit: str | None, app: str | None, *, sha256: str | None) -> None:
    """Say which commit a deployment of COMMIT would bring, its tag, and whether a release may run. Nothing is begun."""
    from substitute.core.deploy import several  # noqa: PLC0415

    site = call.site(call.console.aside)
    chosen = site.app(app)
    plan = several.choose(site.host, chosen, commit, sha256=sha256)
    directory, found = chosen.slots[plan.slot].directory, plan.revision.commit
    procfile = "/".join(filter(None, [chosen.directory, "Procfile"]))
    may = bool(chosen.release.commands) or not site.host.source(chosen).absent(directory, found, [procfile])
    call.console.document(
        {
            "app": chosen.name,
            "commit": found,
            "subject": plan.revision.subject,
            "tag": plan.revision.tag,
            "how": plan.revision.how,
            "may_release": may,
        }
    )
