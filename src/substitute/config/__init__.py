"""substitute.toml: found, read, checked, documented.

It is read once, by `load`, into frozen models; `apps` turns them into the core's own types. What only documentation
needs is imported from `document` and `reference`.
"""

from __future__ import annotations

from substitute.config.loader import load
from substitute.config.models import Config
from substitute.config.models.app import AppConfig
from substitute.config.models.balancer import BalancerConfig
from substitute.config.models.runtime import RuntimeConfig
from substitute.config.resolution import apps
from substitute.config.root import find_root
from substitute.config.tolerant import Reading, read

__all__ = [
    "AppConfig",
    "BalancerConfig",
    "Config",
    "Reading",
    "RuntimeConfig",
    "apps",
    "find_root",
    "load",
    "read",
]
