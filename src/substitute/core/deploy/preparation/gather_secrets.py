"""What an attempt must have at hand before anything of its version is built or started: the values of its secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.secrets import ask, keep, known
from substitute.core.masking import Mask
from substitute.core.model.errors import SecretError
from substitute.core.model.events import Notice, Warned

if TYPE_CHECKING:
    from substitute.core.deploy.attempt import Attempt


def gather_secrets(attempt: Attempt) -> None:
    """Ask for the secrets of what is about to be started, and give them to the attempt. Raises SecretError.

    Where a slot is started as it stands, and they cannot be had, those that it was started with are good enough.
    """
    host, app, slot = attempt.host, attempt.app, attempt.slot
    as_it_stands = slot.version is not None and not attempt.plan.update
    sources = slot.version.secrets_from if slot.version and as_it_stands else app.secrets.sources
    if missing := [name for name in app.pass_env if name not in host.environ]:
        attempt.emit(Notice(f"Not set here, and so not passed to builds and hooks: {', '.join(missing)}."))
    if not sources:
        return
    try:
        values = ask(host, app.name, sources)
        if as_it_stands:
            keep(host, slot.full_name, sources, values)
    except SecretError as error:
        kept = known(host, slot.full_name, sources) if as_it_stands else None
        if kept is None:
            raise
        attempt.emit(Warned(f"{error.reason}\nSlot {slot.name} is started with the values that it had."))
        values = kept
    attempt.app = app.with_secrets(values)
    attempt.mask = Mask(values.values())
