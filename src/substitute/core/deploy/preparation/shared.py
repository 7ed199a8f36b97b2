"""What both slots share: links into ``deploy/<app>/shared``, laid after an update, and once more before the start.

What the live version uses at this moment becomes what is shared, in one step and while it serves. Whatever else is
found is kept aside under a name, and told. Each step leaves a valid state: running it again continues after a kill.
"""

from __future__ import annotations

import errno
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from substitute.core.deploy.preparation.kept import Kept
from substitute.core.model.errors import SharedError, UsageError
from substitute.core.model.events import Notice, Warned
from substitute.core.ports.files import Kind
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from substitute.core.deploy.attempt import Attempt
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.events import Emit
    from substitute.core.model.records import SlotRecord
    from substitute.core.ports.files import Files, Seen


def link_shared(attempt: Attempt, *, updated: bool = False, again: bool = False) -> None:
    """Have the candidate's slot share what its app shares with the live one. Raises SharedError, UsageError.

    `updated`: its files are new, and what is not shared any more is let go. `again`: it was laid in this deployment,
    and which files do not exist yet is told already.
    """
    host, app = attempt.host, attempt.app
    laid = laid_before(host, app)
    if not app.shared and not laid:
        return
    live = host.journal.app(app.name).live_slot
    laying = _Laying(host, app, host.files(app), attempt.slot, live, attempt.emit, again)
    former = [name for name in laid if name not in names_of(app)]
    host.journal.remember(_fact(app), json.dumps([*names_of(app), *former]))
    if updated:
        laying.let_go(former)
    if app.shared:
        laying.lay()
    host.journal.remember(_fact(app), json.dumps([*names_of(app), *filter(laying.is_linked, former)]))


def names_of(app: App) -> list[str]:
    """The paths that are shared, from the top of a slot."""
    return [_inside(app, path.rstrip("/")) for path in app.shared]


def _inside(app: App, name: str) -> str:
    return f"{app.directory}/{name}" if app.directory else name


def laid_before(host: Host, app: App) -> list[str]:
    """What is shared, and what was and still has a link in a slot."""
    return list(json.loads(host.journal.fact(_fact(app)) or "[]"))


def _fact(app: App) -> str:
    return f"shared:{app.name}"


@dataclass(frozen=True)
class _Place:
    """One path that is shared."""

    name: str
    """As it is configured."""
    inside: str
    """Its path from the top of a slot."""
    is_directory: bool
    """It is made where nobody made it before: a program that wants a directory can't make one of a link."""
    shared: Path
    """Where its content is."""


@dataclass
class _Laying:
    """The links of one slot."""

    host: Host
    app: App
    files: Files
    slot: SlotRecord
    live: SlotRecord | None
    emit: Emit
    again: bool = False

    def lay(self) -> None:
        with _explained(self.app):
            self.files.open(self.app.shared_directory)
        for path in self.app.shared:
            name = path.rstrip("/")
            is_directory = path.endswith("/") or "." not in name.rpartition("/")[2]
            place = _Place(name, _inside(self.app, name), is_directory, self.app.shared_directory / name)
            with _explained(self.app, name):
                self._require_inside(place)
                if self.live:
                    self._take_over(place, self.live)
                self._lay_in(place)
        self.host.source(self.app).hide(self.slot.directory, names_of(self.app))

    def let_go(self, former: Sequence[str]) -> None:
        """What is not shared any more: the new version has its own, and what both had stays where it is."""
        for name in former:
            at = self.slot.directory / name
            shared = self.app.shared_directory / name.removeprefix(_inside(self.app, ""))
            with _explained(self.app, name):
                seen = self.files.look(at)
                if seen and self._is_ours(seen):
                    self.files.remove(at)
                    seen = None
                if self.files.look(shared):
                    has = "has its own" if seen else "does not have it"
                    told = f"{name} is not shared any more: slot {self.slot.name} {has}."
                    self.emit(Warned(f"{told} {self._shown(shared)} stays where it is."))

    def is_linked(self, name: str) -> bool:
        """Whether a slot still has a link to what is, or was, shared at `name`."""
        with _explained(self.app, name):
            slots = [self.slot, *([self.live] if self.live else [])]
            found = [self.files.look(slot.directory / name) for slot in slots]
            return any(seen and self._is_ours(seen) for seen in found)

    # -- the live slot --------------------------------------------------------------------------

    def _take_over(self, place: _Place, live: SlotRecord) -> None:
        """What the live version has at `place` becomes what is shared, while it goes on with it."""
        at, shared = live.directory / place.inside, place.shared
        seen = self.files.look(at)
        if seen is None:
            self._require_not_adopted(place, live)
            return
        if self._leads_to(seen, shared):
            return
        if seen.kind is Kind.LINK:
            self._follow(seen, place, live)
            return
        if self._is_tracked_by_git(live, place):
            if seen.kind is Kind.DIRECTORY and self.files.look(self.slot.directory / place.inside):
                self._lay_in(place)  # it may have more
            if self._is_used(shared):
                if seen.kind is Kind.DIRECTORY:  # what comes to it from now on is shared
                    self._set_aside(place, live, in_use=True, silently=True)
                return
        if self._is_used(shared):
            self._set_aside_shared(place, f"slot {live.name}, which is live, has its own")
        self.files.exchange(at, shared, shared)
        self._tell(f"{place.name} of slot {live.name} is now shared: it was moved to {self._shown(shared)}.")

    def _require_not_adopted(self, place: _Place, live: SlotRecord) -> None:
        """An app that was adopted has its files elsewhere: no version is to begin with nothing without a word."""
        if not self.host.adopted(live) or self.files.look(place.shared):
            return
        stranger = self.host.strangers.find(live.endpoints[0])
        at = stranger.directory / place.name if stranger else place.shared
        if self.files.look(at):
            raise UsageError(
                f"{place.name} is to be shared, and the app that was adopted has its own.",
                fact=f"It is {at}; {place.shared} does not exist.",
                cure=f"Copy it (`cp -a {at} {place.shared}`), or make {place.shared} empty to begin with nothing.",
            )

    # -- the candidate's slot -------------------------------------------------------------------

    def _lay_in(self, place: _Place) -> None:
        """Have the candidate's slot lead to what is shared."""
        at, shared = self.slot.directory / place.inside, place.shared
        seen = self.files.look(at)
        if seen and self._leads_to(seen, shared):
            self._make(place)
            self._require_readable(place)
            return
        if seen and seen.kind is Kind.LINK:
            self._follow(seen, place, self.slot)
        elif seen:
            self._make_way(place)
        self._make(place)
        self.files.link(at, shared)
        if not self.again and not self.files.look(shared):
            first = f"whoever writes {place.name} first makes it"
            self._tell(f"{self._shown(shared)} does not exist yet: {first}.")
        self._require_readable(place)

    def _make_way(self, place: _Place) -> None:
        """Something is where the link goes: it is what is shared from now on, or git has it, or it is kept aside."""
        at, shared = self.slot.directory / place.inside, place.shared
        gits = self._is_tracked_by_git(self.slot, place)
        seen = self.files.look(at)
        if seen and seen.empty:
            self.files.remove(at)
        elif not self._is_used(shared) and (gits or not self._live_leads_to(place)):
            self.files.move(at, shared)
            what = "what the commit has" if gits else f"what slot {self.slot.name} had"
            self._tell(f"{self._shown(shared)} is new: it begins with {what} at {place.name}.")
        elif gits:
            self.files.remove(at)
        else:
            self._set_aside(place, self.slot)

    def _make(self, place: _Place) -> None:
        if self.files.look(place.shared):
            return
        if place.is_directory:
            self.files.make(place.shared)
        elif self.app.is_contained:  # what is not there cannot be mounted, nor be made inside
            self.files.touch(place.shared)
            self._tell(f"{self._shown(place.shared)} is new, and empty.")

    def _require_readable(self, place: _Place) -> None:
        """A file of secrets that somebody has put there is neither out of the app's reach, nor within everybody's."""
        seen = self.files.look(place.shared)
        if seen and not seen.readable:
            raise SharedError(
                f"{place.shared} cannot be read by {self.app.user or 'this user'}, who runs the app.",
                cure=f"Type `chown {self.app.user}: {place.shared}`." if self.app.user else "",
            )
        if seen and seen.by_all and place.shared.name.startswith(".env"):
            cure = f"Type `chmod 600 {place.shared}`."
            self.emit(
                Warned(f"{self._shown(place.shared)} can be read by every user of this machine. {cure}")
            )

    # -- both -----------------------------------------------------------------------------------

    def _follow(self, seen: Seen, place: _Place, slot: SlotRecord) -> None:
        """A link that somebody else made: what it leads to is what is shared, if it lies in the root."""
        end, shared = seen.end or place.shared, place.shared
        if not self._is_inside(end):
            raise SharedError(
                f"{place.name} of slot {slot.name} is a link to {end}, outside of {self.app.root}.",
                cure=f"Remove the link, and mount it at the shared place: `mount --bind {end} {shared}`. Or remove "
                f"{place.name} from app.{self.app.name}.shared.",
            )
        already = self.files.look(shared)
        if seen.empty or (already and (already.end or self.files.real(shared)) == end):
            return
        if self._is_used(shared):
            if slot is self.slot and self._is_tracked_by_git(slot, place):
                return
            if slot is self.slot:
                self._set_aside(place, slot)
                return
            self._set_aside_shared(place, f"slot {slot.name}, which is live, has a link to {end}")
        elif already:
            self.files.remove(shared)
        self.files.link(shared, end)
        self._tell(
            f"{self._shown(shared)} is new: it leads to {end}, as {place.name} of slot {slot.name} does."
        )

    def _set_aside(
        self, place: _Place, slot: SlotRecord, *, in_use: bool = False, silently: bool = False
    ) -> None:
        """Keep what a slot has at `place`."""
        at, aside = slot.directory / place.inside, self._kept(slot.name).place(place.name)
        if in_use:
            self.files.exchange(at, aside, place.shared)
            seen = self.files.look(aside)
            if seen and seen.empty:
                self.files.remove(aside)
                return
        else:
            self.files.move(at, aside)
        told = f"Slot {slot.name} had its own {place.name} beside the shared one. It is kept in {self._shown(aside)}."
        self.emit(Notice(told) if silently else Warned(told))

    def _set_aside_shared(self, place: _Place, why: str) -> None:
        aside = self._kept("shared").place(place.name)
        self.files.move(place.shared, aside)
        self.emit(
            Warned(
                f"{self._shown(place.shared)} was replaced: {why}. What it was is kept in {self._shown(aside)}."
            )
        )

    def _kept(self, of: str) -> Kept:
        return Kept(self.host, self.app, self.files, of)

    def _is_tracked_by_git(self, slot: SlotRecord, place: _Place) -> bool:
        return self.host.source(self.app).restorable(slot.directory, place.inside)

    def _is_used(self, shared: Path) -> bool:
        seen = self.files.look(shared)
        return seen is not None and not seen.empty

    def _live_leads_to(self, place: _Place) -> bool:
        seen = self.files.look(self.live.directory / place.inside) if self.live else None
        return seen is not None and self._leads_to(seen, place.shared)

    def _leads_to(self, seen: Seen, shared: Path) -> bool:
        return seen.kind is Kind.LINK and seen.target == self.files.real(shared)

    def _is_ours(self, seen: Seen) -> bool:
        place = self.files.real(self.app.shared_directory)
        return seen.kind is Kind.LINK and seen.target is not None and seen.target.is_relative_to(place)

    def _require_inside(self, place: _Place) -> None:
        """No link on the way leads out of the slot, or out of the root."""
        slots = [self.slot, *([self.live] if self.live else [])]
        for slot in slots:
            at, base = (
                self.files.real(slot.directory / place.inside),
                self.files.real(slot.directory / "-").parent,
            )
            if not at.is_relative_to(base):
                raise SharedError(
                    f"{place.name} cannot be shared: a link on the way leads out of slot {slot.name}.",
                    fact=f"It is {at}.",
                    cure="Share what that link is instead.",
                )
        seen = self.files.look(place.shared)
        for end in (self.files.real(place.shared), seen.end if seen else None):
            if end and not self._is_inside(end):
                raise SharedError(
                    f"{place.shared} leads out of {self.app.root}, to {end}.",
                    cure="Mount there what lies elsewhere (`mount --bind`), in place of a link.",
                )

    def _is_inside(self, path: Path) -> bool:
        root = self.files.real(self.app.root / "-").parent
        deploy = self.files.real(self.app.root / "deploy" / "-").parent
        return path.is_relative_to(root) or path.is_relative_to(deploy)

    def _shown(self, path: Path) -> Path:
        return path.relative_to(self.app.root)

    def _tell(self, message: str) -> None:
        self.emit(Notice(message))


@contextmanager
def _explained(app: App, name: str = "") -> Iterator[None]:
    """What the disk refuses, with what is to be done about it."""
    try:
        yield
    except OSError as error:
        what = (
            f"{name} cannot be shared between the slots."
            if name
            else f"{app.shared_directory} cannot be used."
        )
        cures = {
            errno.EXDEV: f"Its slot lies on another file system. Stop the app, move {name} to "
            f"{app.shared_directory / name}, and deploy again.",
            errno.EINVAL: f"This file system cannot move it while it is used. Stop the app, move {name} to "
            f"{app.shared_directory / name}, and deploy again.",
            errno.EACCES: "What is shared must belong to the user of the app.",
            errno.EPERM: "What is shared must belong to the user of the app.",
        }
        places = " → ".join(str(one) for one in (error.filename, error.filename2) if one)
        raise SharedError(
            what, fact=f"{places}: {error.strerror}.", cure=cures.get(error.errno or 0, "")
        ) from error
