"""What COMMIT may look like. Nothing else reaches git's command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from substitute.core.model.errors import UsageError
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

_BRANCHES = "refs/remotes/origin/"
_TAGS = "refs/tags/"
_HASH = re.compile(r"[0-9a-f]{4,40}|[0-9a-f]{64}")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(/|$)|/$|\.$|^[./]|^@$")
_CURE = "Name a branch, a tag or the hash of a commit, or leave it out for the newest."


@dataclass(frozen=True)
class Wanted:
    """A commit as it was asked for. Each field is where to look, or None for: not there."""

    text: str
    branch: str | None
    """Full name of the reference of a branch of origin."""
    tag: str | None
    digits: str | None
    """A hash, or the beginning of one."""

    @property
    def whole_hash(self) -> bool:
        """Whether it is a full hash."""
        return self.digits is not None and len(self.digits) in {40, 64}


def parse(text: str) -> Wanted:
    """Read COMMIT. Raises UsageError where it can be none, or is an expression of git's own."""
    if not text:
        raise UsageError("COMMIT is empty.", cure=_CURE)
    if text.startswith("-"):
        raise UsageError(f"COMMIT {text!r} looks like an option.", cure=_CURE)
    if _FORBIDDEN.search(text) or text in {"HEAD", "FETCH_HEAD", "ORIG_HEAD"}:
        raise UsageError(f"COMMIT {text!r} is no name of a branch, a tag or a commit.", cure=_CURE)
    for prefix in ("refs/heads/", _BRANCHES, "origin/"):
        if text.startswith(prefix):
            return Wanted(text, _BRANCHES + text.removeprefix(prefix), None, None)
    if text.startswith("refs/"):
        if not text.startswith(_TAGS):
            raise UsageError(f"COMMIT {text!r} is neither a branch nor a tag.", cure=_CURE)
        return Wanted(text, None, text, None)
    digits = text.lower() if _HASH.fullmatch(text.lower()) else None
    return Wanted(text, _BRANCHES + text, _TAGS + text, digits)


def parse_branch(name: str) -> Wanted:
    """Read the branch that an app is configured to follow."""
    return parse(f"refs/heads/{name.removeprefix('refs/heads/')}")


def short(reference: str) -> str:
    """Give a reference the name that people use."""
    return reference.removeprefix(_BRANCHES).removeprefix(_TAGS)


def ambiguous(wanted: Wanted, candidates: Iterable[str], *, cure: str) -> UsageError:
    """Refuse `wanted`, which could mean each of `candidates`."""
    return UsageError(
        f"COMMIT {wanted.text!r} is ambiguous.",
        fact="It could be " + ", or ".join(candidates) + ".",
        cure=cure,
    )


def missing(wanted: Wanted, repo: str, references: Iterable[str]) -> UsageError:
    """Refuse `wanted`, which `repo` does not have, and name what comes nearest."""
    import difflib  # noqa: PLC0415  only this error needs it

    names = {short(reference) for reference in references} - {"HEAD"}
    plain = short(wanted.text.removeprefix("refs/heads/").removeprefix("origin/"))
    near = difflib.get_close_matches(plain, sorted(names), n=3, cutoff=0.5)
    kind = "branch, tag or commit" if wanted.branch and wanted.tag else "branch" if wanted.branch else "tag"
    return UsageError(
        f"{repo} has no {kind} {plain!r}.",
        fact=f"The nearest: {', '.join(near)}." if near else "",
        cure=_CURE,
    )
