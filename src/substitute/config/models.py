"""What substitute.toml may hold. Each key is documented here and nowhere else.

The descriptions, defaults and examples below become docs/configuration.md, the JSON Schema and the
annotated example. Times are seconds once they are parsed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.config.naming import AppName, Environment, EnvironmentFile
from substitute.config.tables import Inner, Named, Refused, Table, key, optional, table
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
    Repository,
    Switch,
    Url,
    User,
    choice,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


class BalancerConfig(Table):
    """The balancer that forwards requests to the live versions of all apps here. See docs/balancers.md."""

    kind = key(
        choice("haproxy", "passive", "nginx", "traefik"),
        "Which balancer. substitute starts `haproxy` and keeps it running. The others are your own: `passive` lists "
        "both slots and is never changed, `nginx` includes a file that substitute writes, `traefik` watches one.",
        default="haproxy",
    )
    listen = key(
        Listen,
        "The address at which clients connect, `HOST:PORT`. `*:80` is every address. Write IPv6 in brackets. "
        "After a change the old address also answers, until nobody uses it (docs/balancers.md).",
        default="127.0.0.1:8080",
        kinds=("haproxy",),
    )
    binary = optional(
        Binary,
        "The balancer's program, an absolute path or a name on PATH. Without it: the one on PATH. "
        "If no HAProxy 2.6 or later is there, the one that was installed with substitute.",
        example="/usr/sbin/haproxy",
        kinds=("haproxy", "nginx"),
    )
    client_timeout = key(
        PositiveDuration,
        "How long a client may be silent in the middle of a request. Then its connection is closed.",
        default="1m",
        kinds=("haproxy",),
    )
    server_timeout = key(
        PositiveDuration,
        "How long an app may be silent before its client gets a 504. "
        "It is long, because the app knows better than a balancer how long an answer may take.",
        default="1h",
        kinds=("haproxy",),
    )
    trusted_proxies = key(
        Networks,
        "The addresses of proxies that end TLS in front of this balancer. X-Forwarded-For and -Proto are kept if a "
        "request comes from one of them, and replaced otherwise.",
        default=("127.0.0.0/8", "::1"),
        kinds=("haproxy",),
    )
    keep_connections = key(
        Switch,
        "Whether connections to the apps are kept for further GET requests. Turn it off for an app that writes an "
        "answer in small parts and delays each until the one before is acknowledged: that takes 40 ms on a connection "
        "that is kept. docs/balancers.md tells how to see and how to change that.",
        default=True,
        kinds=("haproxy",),
    )
    gate = key(
        choice("auto", "nft", "none"),
        "How traffic moves when substitute cannot configure the balancer. `nft`: the kernel redirects new connections "
        "to the live version (nftables). `none`: your balancer notices that the old version has stopped. `auto`: "
        "`nft` if it is available, else `none`.",
        default="auto",
        kinds=("passive",),
    )
    fail_timeout = key(
        Duration,
        "How long your balancer avoids a server that refused a connection; used if the kernel cannot redirect. "
        "nginx has an option of the same name. Set 0 if your nginx has `max_fails=0`.",
        default="10s",
        kinds=("passive",),
    )
    file = optional(
        File,
        "The file that substitute writes and the balancer reads. "
        "Without it: `deploy/run/nginx.conf` or `deploy/run/traefik.yml`.",
        example="/etc/nginx/conf.d/upstreams.conf",
        kinds=("nginx", "traefik"),
    )
    config = optional(
        File,
        "The main configuration file. Without it: the program's default.",
        example="/etc/nginx/nginx.conf",
        kinds=("nginx",),
    )
    api = key(Url, "The address of its API.", default="http://127.0.0.1:8080", kinds=("traefik",))

    def agree(self, written: Collection[str]) -> None:
        """Keys that mean nothing beside `kind` may have their defaults only."""
        foreign = [
            name
            for name, one in self.keys.items()
            if name in written and not one.fits(self.kind) and getattr(self, one.name) != one.initial
        ]
        if foreign:
            raise Refused(f'kind = "{self.kind}" has no use for {" and ".join(foreign)}')


class RuntimeConfig(Table):
    """The program that keeps the instances running after logouts and crashes."""

    kind = key(
        choice("auto", "systemd", "supervisord"),
        "Which runtime: systemd, or a supervisord that substitute starts. `auto` is `systemd` if it is the init and "
        "keeps this user's programs after a logout (root's always, others' with `loginctl enable-linger`), else "
        "`supervisord`.",
        default="auto",
    )


class HealthConfig(Table):
    """When an instance is ready: after `successes` good answers in a row from the process that was started."""

    kind = key(
        choice("http", "tcp"),
        "`http`: a GET must be answered with 200 to 399; redirects are not followed. "
        "`tcp`: a connection is enough.",
        default="http",
    )
    path = key(HealthPath, "The path that an `http` check requests.", default="/", example="/up")
    host = optional(
        HostHeader,
        "The Host header of an `http` check, for an app that accepts certain hosts only. "
        "Without it: the address of the instance.",
        example="shop.example.com",
    )
    timeout = key(
        PositiveDuration,
        "An instance that is not ready after this time has failed. Raise it if your app starts slowly.",
        default="30s",
    )
    interval = key(
        PositiveDuration,
        "The longest pause between two checks. The first ones follow each other sooner: a quick app is ready at once.",
        default="100ms",
    )
    successes = key(Count, "How many good answers in a row are needed.", default=2)

    def agree(self, written: Collection[str]) -> None:
        """A check must have a use for its keys, and be able to succeed."""
        unused = [
            name
            for name in ("host", "path")
            if name in written and getattr(self, name) != self.keys[name].initial
        ]
        if self.kind == "tcp" and unused:
            names = " and ".join(unused)
            raise Refused(f'kind = "tcp" asks for nothing; remove {names}, or write kind = "http"')
        if (self.successes - 1) * self.interval >= self.timeout:
            raise Refused("can never succeed: successes times interval is longer than timeout")


class DrainConfig(Table):
    """How the old instance finishes its requests, once new ones go elsewhere."""

    timeout = key(
        Duration,
        "How long substitute waits for requests and connections in flight before SIGTERM. "
        "The wait ends as soon as there are none.",
        default="30s",
    )


class StopConfig(Table):
    """How an instance ends."""

    timeout = key(Duration, "The time between SIGTERM and SIGKILL.", default="30s")


class CheckConfig(Table):
    """What `substitute check` has under way when it sends SIGTERM. See docs/sigterm.md."""

    slow = optional(
        HealthPath,
        "A path whose answer takes the app a second or more. It must be answered in full all the same.",
        example="/reports/year",
    )
    large = optional(
        HealthPath,
        "A path whose answer has 100 KB or more. It is read only after SIGTERM, as by a slow client.",
        example="/export.csv",
    )
    upload = optional(
        HealthPath,
        "A path that takes a POST. Its body is held back until after SIGTERM.",
        example="/upload",
    )


class VerifyConfig(Table):
    """A time in which both versions share the traffic, before the new one becomes live."""

    duration = key(
        Duration,
        "How long. The new version must stay up and ready. If it does not, the old one goes on serving.",
        default="0s",
        alias="for",
    )
    share = key(Percent, "The percentage of requests that the new version gets.", default=50)


class HooksConfig(Table):
    """Your own programs at ten points of a deployment."""

    timeout = key(PositiveDuration, "A hook that runs longer is ended, and has failed.", default="10m")


class LimitsConfig(Table):
    """What each instance may use of the machine. Needs systemd."""

    memory = optional(
        Memory,
        "If an instance uses more, the kernel kills it, and it is started again.",
        example="512M",
    )
    cpu = optional(Processors, "Percent of one processor: `200%` is two of them.", example="150%")
    tasks = optional(Many, "How many processes and threads.", example=512)
    nofile = optional(Many, "How many open files each process may have.", example=65536)


class SandboxConfig(Table):
    """What instances may not do. Needs systemd; docs/systemd.md gives the reasons."""

    no_new_privileges = key(Switch, "No program gains privileges: sudo, ping with setuid.", default=True)
    protect_system = key(Switch, "/usr, /boot and /etc cannot be written.", default=True)
    protect_kernel = key(
        Switch, "The kernel's settings, modules, log and cgroups cannot be changed.", default=True
    )
    private_tmp = key(Switch, "It has temporary directories of its own, empty at each start.", default=True)
    private_devices = key(
        Switch, "No devices except /dev/null and the like: no disks, no GPU, no clock to set.", default=True
    )
    restrict_namespaces = key(
        Switch,
        "No namespaces. Turn it off for a headless browser, which has a sandbox of its own.",
        default=True,
    )
    restrict_calls = key(
        Switch, "No system calls of foreign architectures, no realtime priority.", default=True
    )


class AppConfig(Table):
    """An app. NAME is made of a-z, 0-9 and -, begins with a letter, has at most 32 characters, not `run`."""

    repo = key(
        Repository,
        "What git clones into both slots: a URL, or a path (relative to the root).",
        example="https://git.example.com/shop.git",
    )
    branch = optional(
        Branch,
        "The branch whose newest commit `deploy` takes. Without it: the remote's HEAD.",
        example="main",
    )
    build = key(
        Commands,
        "Shell commands that build a version. They run one after the other in its slot.",
        default=(),
        example=["npm ci --omit=dev"],
    )
    build_timeout = key(
        PositiveDuration,
        "The time that all `build` commands together may take, and each call of git. After it they are ended, and the "
        "deployment has failed.",
        default="30m",
    )
    clean = key(
        Switch, "Whether untracked files (such as node_modules) are removed before a build.", default=False
    )
    start = key(
        Command,
        "The shell command that runs the app in the foreground. It must listen on port $PORT of the address $HOST. "
        "$ADDRESS is both, HOST:PORT, for a program that wants them together (`gunicorn -b $ADDRESS`); $BIND is the "
        "address alone, as $HOST. SUBSTITUTE_APP, _SLOT, _COMMIT, _PORT and _DIRECTORY are set as well.",
        example="node www.js",
    )
    ports = key(Ports, "The ports of slot a and of slot b.", example=[3001, 3002])
    host = key(Host, "The address that the app listens on.", default="127.0.0.1")
    domains = key(
        Domains,
        "The app gets requests with one of these in the Host header. "
        "An app without domains gets all other requests; only one app may have none.",
        default=(),
        example=["shop.example.com"],
    )
    env = key(
        Environment,
        "Variables for builds, hooks and the app. Those that substitute sets are not allowed.",
        default={},
        example={"NODE_ENV": "production"},
    )
    env_file = optional(
        EnvironmentFile,
        "A file of KEY=VALUE lines for secrets, relative to the root. `env` takes precedence.",
        example="shop.env",
    )
    user = optional(
        User,
        "The user that runs the app, its git, its builds and the hooks in its repository. Only root may name "
        "another user. Without it: the user who deploys.",
        example="shop",
    )
    notify = key(
        Switch,
        "Whether the app tells systemd that it is ready (READY=1, sd_notify). It must then do so, and the health check "
        "must succeed, too.",
        default=False,
    )
    health = table(HealthConfig)
    drain = table(DrainConfig)
    stop = table(StopConfig)
    check = table(CheckConfig)
    verify = table(VerifyConfig)
    hooks = table(HooksConfig)
    limits = table(LimitsConfig)
    sandbox = table(SandboxConfig)


class Config(Table):
    """The configuration of a root: its substitute.toml, with every default filled in."""

    balancer = table(BalancerConfig)
    runtime = table(RuntimeConfig)
    app = key(
        Named(AppName, Inner(AppConfig), "a table", missing="a table [app.NAME] for each app"),
        "The apps by their names.",
    )


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
