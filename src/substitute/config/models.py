"""What substitute.toml may hold. Each key is documented here and nowhere else.

The descriptions, defaults and examples below become docs/configuration.md, the JSON Schema and the
annotated example. Times are seconds once they are parsed.
"""

# Not `from __future__ import annotations`: pydantic reads these annotations at run time.

from collections.abc import Mapping
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from substitute.config.naming import AppName, Environment, EnvironmentFile
from substitute.config.values import (
    Binary,
    Branch,
    Command,
    Commands,
    Count,
    Domains,
    Duration,
    File,
    HealthPath,
    Host,
    HostHeader,
    Listen,
    Many,
    Memory,
    Networks,
    Percent,
    Ports,
    PositiveDuration,
    Processors,
    Refused,
    Repository,
    Switch,
    Url,
    User,
)


def _key(
    description: str,
    default: Any = ...,
    *,
    example: Any = None,
    alias: str | None = None,
    kinds: tuple[str, ...] = (),
) -> Any:
    """A key; without a default it is required. `example` is shown where the default is empty.

    `kinds` are those that have a use for it; none means all.
    """
    return Field(
        default,
        description=f"{', '.join(kinds)}: {description}" if kinds else description,
        examples=[example] if example else None,
        alias=alias,
        json_schema_extra={"kinds": list(kinds)} if kinds else None,
    )


def fits_kind(field: FieldInfo, kind: str) -> bool:
    """Whether the key means anything beside that `kind`."""
    extra = field.json_schema_extra
    return not isinstance(extra, dict) or kind in cast("list[str]", extra["kinds"])


def _table() -> Any:
    """A table that may be left out."""
    return Field(default={})


class Table(BaseModel):
    """A table of substitute.toml: unknown keys are errors, and nothing changes once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class BalancerConfig(Table):
    """The balancer that forwards requests to the live versions of all apps here. See docs/balancers.md."""

    kind: Literal["haproxy", "passive", "nginx", "traefik"] = _key(
        "Which balancer. substitute starts `haproxy` and keeps it running. The others are your own: `passive` lists "
        "both slots and is never changed, `nginx` includes a file that substitute writes, `traefik` watches one.",
        default="haproxy",
    )
    listen: Listen = _key(
        "The address at which clients connect, `HOST:PORT`. `*:80` is every address. Write IPv6 in brackets. "
        "After a change the old address also answers, until nobody uses it (docs/balancers.md).",
        default="127.0.0.1:8080",
        kinds=("haproxy",),
    )
    binary: Binary | None = _key(
        "The balancer's program, an absolute path or a name on PATH. Without it: the one on PATH. "
        "If no HAProxy 2.6 or later is there, the one that was installed with substitute.",
        default=None,
        example="/usr/sbin/haproxy",
        kinds=("haproxy", "nginx"),
    )
    client_timeout: PositiveDuration = _key(
        "How long a client may be silent in the middle of a request. Then its connection is closed.",
        default="1m",
        kinds=("haproxy",),
    )
    server_timeout: PositiveDuration = _key(
        "How long an app may be silent before its client gets a 504. "
        "It is long, because the app knows better than a balancer how long an answer may take.",
        default="1h",
        kinds=("haproxy",),
    )
    trusted_proxies: Networks = _key(
        "The addresses of proxies that end TLS in front of this balancer. X-Forwarded-For and -Proto are kept if a "
        "request comes from one of them, and replaced otherwise.",
        default=("127.0.0.0/8", "::1"),
        kinds=("haproxy",),
    )
    gate: Literal["auto", "nft", "none"] = _key(
        "How traffic moves when substitute cannot configure the balancer. `nft`: the kernel redirects new connections "
        "to the live version (nftables). `none`: your balancer notices that the old version has stopped. `auto`: "
        "`nft` if it is available, else `none`.",
        default="auto",
        kinds=("passive",),
    )
    fail_timeout: Duration = _key(
        "How long your balancer avoids a server that refused a connection; used if the kernel cannot redirect. "
        "nginx has an option of the same name. Set 0 if your nginx has `max_fails=0`.",
        default="10s",
        kinds=("passive",),
    )
    file: File | None = _key(
        "The file that substitute writes and the balancer reads. "
        "Without it: `deploy/run/nginx.conf` or `deploy/run/traefik.yml`.",
        default=None,
        example="/etc/nginx/conf.d/upstreams.conf",
        kinds=("nginx", "traefik"),
    )
    config: File | None = _key(
        "The main configuration file. Without it: the program's default.",
        default=None,
        example="/etc/nginx/nginx.conf",
        kinds=("nginx",),
    )
    api: Url = _key("The address of its API.", default="http://127.0.0.1:8080", kinds=("traefik",))

    @model_validator(mode="after")
    def _fits_its_kind(self) -> "BalancerConfig":
        left_out = None if not self.model_fields_set else BalancerConfig()
        foreign = [
            name
            for name, field in type(self).model_fields.items()
            if name in self.model_fields_set
            and not fits_kind(field, self.kind)
            and getattr(self, name) != getattr(left_out, name)
        ]
        if foreign:
            raise Refused(f'kind = "{self.kind}" has no use for {" and ".join(foreign)}')
        return self


class RuntimeConfig(Table):
    """The program that keeps the instances running after logouts and crashes."""

    kind: Literal["auto", "systemd", "supervisord"] = _key(
        "Which runtime: systemd, or a supervisord that substitute starts. `auto` is `systemd` if it is the init and "
        "keeps this user's programs after a logout (root's always, others' with `loginctl enable-linger`), else "
        "`supervisord`.",
        default="auto",
    )


class HealthConfig(Table):
    """When an instance is ready: after `successes` good answers in a row from the process that was started."""

    kind: Literal["http", "tcp"] = _key(
        "`http`: a GET must be answered with 200 to 399; redirects are not followed. "
        "`tcp`: a connection is enough.",
        default="http",
    )
    path: HealthPath = _key("The path that an `http` check requests.", default="/", example="/up")
    host: HostHeader | None = _key(
        "The Host header of an `http` check, for an app that accepts certain hosts only. "
        "Without it: the address of the instance.",
        default=None,
        example="shop.example.com",
    )
    timeout: PositiveDuration = _key(
        "An instance that is not ready after this time has failed. Raise it if your app starts slowly.",
        default="30s",
    )
    interval: PositiveDuration = _key("The pause between two checks.", default="100ms")
    successes: Count = _key("How many good answers in a row are needed.", default=2)

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

    timeout: Duration = _key(
        "How long substitute waits for requests and connections in flight before SIGTERM. "
        "The wait ends as soon as there are none.",
        default="30s",
    )


class StopConfig(Table):
    """How an instance ends."""

    timeout: Duration = _key("The time between SIGTERM and SIGKILL.", default="30s")


class CheckConfig(Table):
    """What `substitute check` has under way when it sends SIGTERM. See docs/sigterm.md."""

    slow: HealthPath | None = _key(
        "A path whose answer takes the app a second or more. It must be answered in full all the same.",
        default=None,
        example="/reports/year",
    )
    large: HealthPath | None = _key(
        "A path whose answer has 100 KB or more. It is read only after SIGTERM, as by a slow client.",
        default=None,
        example="/export.csv",
    )
    upload: HealthPath | None = _key(
        "A path that takes a POST. Its body is held back until after SIGTERM.",
        default=None,
        example="/upload",
    )


class VerifyConfig(Table):
    """A time in which both versions share the traffic, before the new one becomes live."""

    duration: Duration = _key(
        "How long. The new version must stay up and ready. If it does not, the old one goes on serving.",
        default="0s",
        alias="for",
    )
    share: Percent = _key("The percentage of requests that the new version gets.", default=50)


class HooksConfig(Table):
    """Your own programs at ten points of a deployment."""

    timeout: PositiveDuration = _key("A hook that runs longer is ended, and has failed.", default="10m")


class LimitsConfig(Table):
    """What each instance may use of the machine. Needs systemd."""

    memory: Memory | None = _key(
        "If an instance uses more, the kernel kills it, and it is started again.",
        default=None,
        example="512M",
    )
    cpu: Processors | None = _key(
        "Percent of one processor: `200%` is two of them.", default=None, example="150%"
    )
    tasks: Many | None = _key("How many processes and threads.", default=None, example=512)
    nofile: Many | None = _key("How many open files each process may have.", default=None, example=65536)


class SandboxConfig(Table):
    """What instances may not do. Needs systemd; docs/systemd.md gives the reasons."""

    no_new_privileges: Switch = _key("No program gains privileges: sudo, ping with setuid.", default=True)
    protect_system: Switch = _key("/usr, /boot and /etc cannot be written.", default=True)
    protect_kernel: Switch = _key(
        "The kernel's settings, modules, log and cgroups cannot be changed.", default=True
    )
    private_tmp: Switch = _key("It has temporary directories of its own, empty at each start.", default=True)
    private_devices: Switch = _key(
        "No devices except /dev/null and the like: no disks, no GPU, no clock to set.", default=True
    )
    restrict_namespaces: Switch = _key(
        "No namespaces. Turn it off for a headless browser, which has a sandbox of its own.", default=True
    )
    restrict_calls: Switch = _key(
        "No system calls of foreign architectures, no realtime priority.", default=True
    )


class AppConfig(Table):
    """An app. NAME is made of a-z, 0-9 and -, begins with a letter, has at most 32 characters, not `run`."""

    repo: Repository = _key(
        "What git clones into both slots: a URL, or a path (relative to the root).",
        example="https://git.example.com/shop.git",
    )
    branch: Branch | None = _key(
        "The branch whose newest commit `deploy` takes. Without it: the remote's HEAD.",
        default=None,
        example="main",
    )
    build: Commands = _key(
        "Shell commands that build a version. They run one after the other in its slot.",
        default=(),
        example=["npm ci --omit=dev"],
    )
    build_timeout: PositiveDuration = _key(
        "The time that all `build` commands together may take, and each call of git. After it they are ended, and the "
        "deployment has failed.",
        default="30m",
    )
    clean: Switch = _key(
        "Whether untracked files (such as node_modules) are removed before a build.", default=False
    )
    start: Command = _key(
        "The shell command that runs the app in the foreground. It must listen on port $PORT of the address $HOST. "
        "$ADDRESS is both, HOST:PORT, for a program that wants them together (`gunicorn -b $ADDRESS`); $BIND is the "
        "address alone, as $HOST. SUBSTITUTE_APP, _SLOT, _COMMIT, _PORT and _DIRECTORY are set as well.",
        example="node www.js",
    )
    ports: Ports = _key("The ports of slot a and of slot b.", example=[3001, 3002])
    host: Host = _key("The address that the app listens on.", default="127.0.0.1")
    domains: Domains = _key(
        "The app gets requests with one of these in the Host header. "
        "An app without domains gets all other requests; only one app may have none.",
        default=(),
        example=["shop.example.com"],
    )
    env: Environment = _key(
        "Variables for builds, hooks and the app. Those that substitute sets are not allowed.",
        default={},
        example={"NODE_ENV": "production"},
    )
    env_file: EnvironmentFile | None = _key(
        "A file of KEY=VALUE lines for secrets, relative to the root. `env` takes precedence.",
        default=None,
        example="shop.env",
    )
    user: User | None = _key(
        "The user that runs the app, its git, its builds and the hooks in its repository. Only root may name "
        "another user. Without it: the user who deploys.",
        default=None,
        example="shop",
    )
    notify: Switch = _key(
        "Whether the app tells systemd that it is ready (READY=1, sd_notify). It must then do so, and the health check "
        "must succeed, too.",
        default=False,
    )
    health: HealthConfig = _table()
    drain: DrainConfig = _table()
    stop: StopConfig = _table()
    check: CheckConfig = _table()
    verify: VerifyConfig = _table()
    hooks: HooksConfig = _table()
    limits: LimitsConfig = _table()
    sandbox: SandboxConfig = _table()


class Config(Table):
    """The configuration of a root: its substitute.toml, with every default filled in."""

    balancer: BalancerConfig = _table()
    runtime: RuntimeConfig = _table()
    app: dict[AppName, AppConfig] = _key("The apps by their names.")


SECTIONS: Mapping[tuple[str, ...], type[Table]] = {
    (): Config,
    ("balancer",): BalancerConfig,
    ("runtime",): RuntimeConfig,
    ("app", "NAME"): AppConfig,
    ("app", "NAME", "health"): HealthConfig,
    ("app", "NAME", "drain"): DrainConfig,
    ("app", "NAME", "stop"): StopConfig,
    ("app", "NAME", "check"): CheckConfig,
    ("app", "NAME", "verify"): VerifyConfig,
    ("app", "NAME", "hooks"): HooksConfig,
    ("app", "NAME", "limits"): LimitsConfig,
    ("app", "NAME", "sandbox"): SandboxConfig,
}
"""Every table by its header, in the order of the documentation."""
