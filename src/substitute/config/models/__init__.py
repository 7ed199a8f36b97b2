"""What substitute.toml may hold, by table. Each key is documented here and nowhere else.

The descriptions, defaults and examples become docs/configuration.md, the JSON Schema and the annotated example.
Times are seconds once they are parsed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.config.models.app import AppConfig
from substitute.config.models.balancer import BalancerConfig
from substitute.config.models.cluster import ClusterConfig
from substitute.config.models.cron import CronConfig
from substitute.config.models.deployment import (
    CanaryConfig,
    CheckConfig,
    DrainConfig,
    HooksConfig,
    ReplayConfig,
    StandbyConfig,
    StopConfig,
    StreamsConfig,
    VerifyConfig,
)
from substitute.config.models.health import HealthConfig, ProcessHealthConfig
from substitute.config.models.hosts import HostsConfig
from substitute.config.models.limits import BuildLimitsConfig, LimitsConfig, SandboxConfig
from substitute.config.models.process import ProcessConfig
from substitute.config.models.runtime import RuntimeConfig
from substitute.config.naming import AppName
from substitute.config.tables import Inner, Named, Table, key, table

if TYPE_CHECKING:
    from collections.abc import Mapping


class Config(Table):
    """The configuration of a root: its substitute.toml, with every default filled in."""

    balancer = table(BalancerConfig)
    runtime = table(RuntimeConfig)
    cluster = table(ClusterConfig)
    hosts = table(HostsConfig)
    app = key(
        Named(AppName, Inner(AppConfig), "a table", missing="a table [app.NAME] for each app"),
        "The apps by their names.",
    )


SECTIONS: Mapping[tuple[str, ...], type[Table]] = {
    (): Config,
    ("balancer",): BalancerConfig,
    ("runtime",): RuntimeConfig,
    ("cluster",): ClusterConfig,
    ("hosts",): HostsConfig,
    ("app", "NAME"): AppConfig,
    ("app", "NAME", "health"): HealthConfig,
    ("app", "NAME", "drain"): DrainConfig,
    ("app", "NAME", "drain", "streams"): StreamsConfig,
    ("app", "NAME", "standby"): StandbyConfig,
    ("app", "NAME", "replay"): ReplayConfig,
    ("app", "NAME", "stop"): StopConfig,
    ("app", "NAME", "check"): CheckConfig,
    ("app", "NAME", "canary"): CanaryConfig,
    ("app", "NAME", "verify"): VerifyConfig,
    ("app", "NAME", "hooks"): HooksConfig,
    ("app", "NAME", "limits"): LimitsConfig,
    ("app", "NAME", "build_limits"): BuildLimitsConfig,
    ("app", "NAME", "sandbox"): SandboxConfig,
    ("app", "NAME", "process", "PROCESS"): ProcessConfig,
    ("app", "NAME", "process", "PROCESS", "health"): ProcessHealthConfig,
    ("app", "NAME", "process", "PROCESS", "stop"): StopConfig,
    ("app", "NAME", "process", "PROCESS", "limits"): LimitsConfig,
    ("app", "NAME", "cron", "CRON"): CronConfig,
}
"""Every table by its header, in the order of the documentation."""
