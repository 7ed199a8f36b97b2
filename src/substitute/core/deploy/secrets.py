"""The values of `secrets`: asked for once a deployment, and kept for the slot that was started with them.

They are kept in a file that its owner alone can read, beside what the runtime has to start the instance again. So
nobody has to be there, signed in to a password manager, when the machine boots or a slot is started again.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from substitute.core.model.errors import SecretError
from substitute.core.model.secrets import SecretSource
from substitute.io.files import write_atomically
from substitute.values import asdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import SlotRecord

    Sources = Mapping[str, SecretSource]


def ask(host: Host, app: str, sources: Sources) -> dict[str, str]:
    """The values, as they are now; a command that several have is run once. Raises SecretError, which names all."""
    found: dict[SecretSource, str] = {}
    failed: dict[SecretSource, tuple[str, SecretError]] = {}
    for name, source in sources.items():
        if source in found or source in failed:
            continue
        try:
            found[source] = host.secret(source, lambda process: host.journal.command_started(app, process))
        except SecretError as error:
            failed[source] = (name, error)
        finally:
            if source.command:
                host.journal.forget_commands(app)
    if failed:
        raise _unread(app, list(failed.values()))
    return {name: found[source] for name, source in sources.items()}


def _unread(app: str, failed: Sequence[tuple[str, SecretError]]) -> SecretError:
    """One error of all that could not be read."""
    (name, first), *others = failed
    more = (f"Nor can {other} be read: {error.reason}" for other, error in others)
    return SecretError(
        f"The secret {name} of {app} cannot be read: {first.what}",
        fact="\n".join(filter(None, [first.fact, *more])),
        cure=first.cure or f"See app.{app}.secrets.{name} in substitute.toml.",
    )


def holding(host: Host, app: App, slot: SlotRecord) -> App:
    """`app` with the values of its secrets: those it has, else those kept for `slot`, else asked for.

    Raises SecretError.
    """
    sources = app.secrets.sources
    if app.secrets.values.keys() == sources.keys():
        return app
    values = known(host, slot.full_name, sources) or ask(host, app.name, sources)
    return app.with_secrets(values)


def keep(host: Host, instance: str, sources: Sources, values: Mapping[str, str]) -> None:
    """Keep what `instance` is started with."""
    file = host.kept_secrets(instance)
    if sources and known(host, instance, sources) == values:
        return  # what is started again needs no room on the disk
    if sources:
        kept = {name: {"source": asdict(source), "value": values[name]} for name, source in sources.items()}
        write_atomically(file, json.dumps(kept), mode=0o600)
    else:
        file.unlink(missing_ok=True)


def known(host: Host, instance: str, sources: Sources) -> dict[str, str] | None:
    """What was kept for `instance`, where that is all of `sources`."""
    with suppress(OSError, ValueError, KeyError, TypeError):  # lost, or damaged: it is asked for again
        kept = json.loads(host.kept_secrets(instance).read_text(encoding="utf-8"))
        if all(SecretSource(**kept[name]["source"]) == source for name, source in sources.items()):
            return {name: str(kept[name]["value"]) for name in sources}
    return None
