"""substitute.toml: found, read, checked, documented.

It is read once, by `load`, into frozen models; `apps` turns them into the core's own types.
"""

from __future__ import annotations

from substitute.config.document import describe, document, schema
from substitute.config.loader import load
from substitute.config.models import AppConfig, BalancerConfig, Config, RuntimeConfig
from substitute.config.reference import annotated_example, reference_markdown
from substitute.config.resolution import apps
from substitute.config.root import find_root

__all__ = [
    "AppConfig",
    "BalancerConfig",
    "Config",
    "RuntimeConfig",
    "annotated_example",
    "apps",
    "describe",
    "document",
    "find_root",
    "load",
    "reference_markdown",
    "schema",
]
