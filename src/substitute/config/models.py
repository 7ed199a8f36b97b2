"""What substitute.toml may hold. Each key is documented here and nowhere else.

The descriptions, defaults and examples below become docs/configuration.md, the JSON Schema and the
annotated example. Times are seconds once they are parsed.
"""

# Not `from __future__ import annotations`: pydantic reads these annotations at run time.

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from substitute.config.values import (
    AppName,
    Binary,
    Branch,
    Command,
    Commands,
    Count,
    Domains,
    Duration,
    Environment,
    EnvironmentFile,
    HealthPath,
    Host,
    HostHeader,
    LaterDuration,
    LaterGate,
    LaterUser,
    Listen,
    Networks,
    Percent,
    Ports,
    PositiveDuration,
    Refused,
    Repository,
    Switch,
)


class Table(BaseModel):
    """A table of substitute.toml: unknown keys are errors, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class BalancerConfig(Table):
    """What spreads the requests over the slots of all apps of this root."""

    kind: Literal["haproxy", "passive", "nginx", "traefik"] = Field(
        "haproxy",
        description="Which balancer. This version brings `haproxy`, started and kept running for you.",
    )
    listen: Listen = Field(
        "127.0.0.1:8080",
        description="Where requests come in, `HOST:PORT`. `*:80` is every address; IPv6 stands in brackets.",
    )
    binary: Binary | None = Field(
        None,
        examples=["/usr/sbin/haproxy"],
        description="The balancer's program: an absolute path, or a name on PATH. "
        "Without it: `haproxy` 2.6 or later on PATH, else the one that was installed with substitute.",
    )
    client_timeout: PositiveDuration = Field(
        "1m", description="How long a client may be silent in the middle of a request before it is given up."
    )
    server_timeout: PositiveDuration = Field(
        "1h",
        description="How long an app may be silent before its client gets a 504. "
        "Generous, since the app knows better than a balancer when it is too late.",
    )
    trusted_proxies: Networks = Field(
        ("127.0.0.0/8", "::1"),
        description="From these addresses X-Forwarded-For and -Proto are kept, from all others they are "
        "replaced: list the proxies that end TLS in front of this balancer.",
    )
    gate: LaterGate = Field(
        "auto", description="How a balancer that can't be told is made to obey: `nft`, or `none`."
    )
    fail_timeout: LaterDuration = Field(
        None,
        examples=["10s"],
        description="For how long a passive balancer avoids a server that failed once.",
    )


class RuntimeConfig(Table):
    """What keeps the instances running, past logout and crashes."""

    kind: Literal["auto", "systemd", "supervisord"] = Field(
        "auto", description="Which runtime. `auto` takes the best one of this version: `supervisord`."
    )


class HealthConfig(Table):
    """When an instance is ready: `successes` good answers in a row from the process that was started."""

    kind: Literal["http", "tcp"] = Field(
        "http",
        description="`http`: a GET that is answered with 200 to 399, redirects not followed. "
        "`tcp`: a connection is enough.",
    )
    path: HealthPath = Field("/", examples=["/up"], description="What an `http` check asks for.")
    host: HostHeader | None = Field(
        None,
        examples=["shop.example.com"],
        description="The Host header of an `http` check, for an app that insists on one. "
        "Without it: the address that is asked.",
    )
    timeout: PositiveDuration = Field("30s", description="An instance that is not ready by then has failed.")
    interval: PositiveDuration = Field("100ms", description="The pause between two checks.")
    successes: Count = Field(2, description="How many good answers in a row it takes.")

    @model_validator(mode="after")
    def _can_succeed(self) -> "HealthConfig":
        if self.kind == "tcp" and (unused := {"path", "host"} & self.model_fields_set):
            names = " and ".join(sorted(unused))
            raise Refused(f'kind = "tcp" asks for nothing; remove {names}, or write kind = "http"')
        if (self.successes - 1) * self.interval >= self.timeout:
            raise Refused("can never succeed: successes times interval is longer than timeout")
        return self


class DrainConfig(Table):
    """How the old instance finishes its requests, once new ones go elsewhere."""

    timeout: Duration = Field(
        "30s",
        description="How long requests and connections in flight are waited for before SIGTERM. "
        "The wait ends as soon as there are none.",
    )


class StopConfig(Table):
    """How an instance ends."""

    timeout: Duration = Field("30s", description="The time between SIGTERM and SIGKILL.")


class VerifyConfig(Table):
    """Both versions share the traffic for a while, before the new one is committed to."""

    duration: Duration = Field(
        "0s",
        alias="for",
        description="For how long. The new version must stay up and ready; else the old one serves on.",
    )
    share: Percent = Field(50, description="How many percent of the requests the new version gets.")


class HooksConfig(Table):
    """Your own programs at ten points of a deployment."""

    timeout: PositiveDuration = Field(
        "10m", description="A hook that runs for longer is ended and has failed."
    )


class AppConfig(Table):
    """An app. NAME is made of a-z, 0-9 and -, begins with a letter, has at most 32 characters, and is not `run`."""

    repo: Repository = Field(
        examples=["https://git.example.com/shop.git"],
        description="What git clones into both slots: a URL, or a path (relative to the root).",
    )
    branch: Branch | None = Field(
        None,
        examples=["main"],
        description="What `deploy` takes the newest commit of. Without it: the remote's HEAD.",
    )
    build: Commands = Field(
        (),
        examples=[["npm ci --omit=dev"]],
        description="Shell commands that run one after the other in the updated slot.",
    )
    clean: Switch = Field(
        False,  # noqa: FBT003  pydantic's signature
        description="Whether untracked files (node_modules) are removed before a build.",
    )
    start: Command = Field(
        examples=["node www.js"],
        description="The shell command that runs the app in the foreground. It must listen on $PORT of $HOST "
        "(also $BIND); SUBSTITUTE_APP, _SLOT, _COMMIT and _PORT are set as well.",
    )
    ports: Ports = Field(examples=[[3001, 3002]], description="The ports of slot a and of slot b.")
    host: Host = Field("127.0.0.1", description="The address that the app listens on.")
    domains: Domains = Field(
        (),
        examples=[["shop.example.com"]],
        description="Which requests are for this app, by their Host header. "
        "One app may have none: it gets what is no other's.",
    )
    env: Environment = Field(
        {},
        examples=[{"NODE_ENV": "production"}],
        description="Variables for builds, hooks and the app. Those that substitute sets may not be among them.",
    )
    env_file: EnvironmentFile | None = Field(
        None,
        examples=["shop.env"],
        description="A file of KEY=VALUE lines, relative to the root, for what does not belong here: secrets. "
        "`env` wins over it.",
    )
    user: LaterUser = Field(None, examples=["shop"], description="The user that the app runs as.")
    health: HealthConfig = Field({}, description="")
    drain: DrainConfig = Field({}, description="")
    stop: StopConfig = Field({}, description="")
    verify: VerifyConfig = Field({}, description="")
    hooks: HooksConfig = Field({}, description="")

    @property
    def environment(self) -> Mapping[str, str]:
        """What `env_file` and `env` set together; it may hold secrets."""
        return {**(self.env_file.values if self.env_file else {}), **self.env}


class Config(Table):
    """The configuration of a root: its substitute.toml, with every default filled in."""

    balancer: BalancerConfig = Field({}, description="")
    runtime: RuntimeConfig = Field({}, description="")
    app: dict[AppName, AppConfig] = Field(description="The apps by their names.")


SECTIONS: Mapping[tuple[str, ...], type[Table]] = {
    (): Config,
    ("balancer",): BalancerConfig,
    ("runtime",): RuntimeConfig,
    ("app", "NAME"): AppConfig,
    ("app", "NAME", "health"): HealthConfig,
    ("app", "NAME", "drain"): DrainConfig,
    ("app", "NAME", "stop"): StopConfig,
    ("app", "NAME", "verify"): VerifyConfig,
    ("app", "NAME", "hooks"): HooksConfig,
}
"""Every table by its header, in the order of the documentation."""
