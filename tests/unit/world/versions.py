"""The versions of apps, and what a directory holds of one."""

from __future__ import annotations

from dataclasses import dataclass

GOOD = ("v1", "v2", "v3", "stubborn", "busy", "streaming")
"""Versions that can be deployed. ``stubborn`` ignores SIGTERM, and requests to ``busy`` never end; those to
``streaming`` are streams, and end only where the balancer ends them."""
ENDLESS = frozenset({"busy", "streaming"})
BAD = ("unbuildable", "unreleasable", "crashing", "sick")
"""Versions that cannot: no build, a release that fails, no process, no good answer."""
CONTRACT = "v3"
"""A version whose migration those before it do not survive."""


@dataclass(frozen=True)
class Files:
    """What a directory holds: tracked files, and what a build has made of them, or of earlier ones."""

    version: str
    built: str = ""
