"""The table [app.NAME]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.config.models.cron import CronConfig
from substitute.config.models.deployment import (
    CanaryConfig,
    CheckConfig,
    DrainConfig,
    HooksConfig,
    ReplayConfig,
    StandbyConfig,
    StopConfig,
    VerifyConfig,
)
from substitute.config.models.health import HealthConfig
from substitute.config.models.limits import BuildLimitsConfig, LimitsConfig, SandboxConfig
from substitute.config.models.process import ProcessConfig
from substitute.config.naming import CronName, Environment, EnvironmentFile, ProcessName, Secrets, Variables
from substitute.config.tables import Inner, Named, Refused, Table, key, optional, table
from substitute.config.values import (
    AssetPaths,
    Branch,
    Command,
    Commands,
    ContainerPort,
    Domains,
    Host,
    ImageName,
    Inside,
    Instances,
    Ports,
    PositiveDuration,
    Releases,
    Repository,
    SharedPaths,
    Switch,
    User,
    Watched,
    choice,
)

if TYPE_CHECKING:
    from collections.abc import Collection

_HIGHEST_PORT = 65535
_DATABASES = (".sqlite3", ".sqlite", ".db")


class AppConfig(Table):
    """An app. NAME is made of a-z, 0-9 and -, begins with a letter, has at most 32 characters, not `run`."""

    repo = key(
        Repository,
        "What git clones into both slots: a URL, or a path (relative to the root).",
        example="https://git.example.com/shop.git",
        kinds=("git",),
        by="source",
    )
    branch = optional(
        Branch,
        "The branch whose newest commit `deploy` takes. Without it: the remote's HEAD.",
        example="main",
        kinds=("git",),
        by="source",
    )
    source = key(
        choice("git", "archive", "image"),
        "What versions come from. `git`: commits of `repo`. `archive`: `substitute deploy FILE` unpacks what was built "
        "elsewhere, a tar or zip file or a directory (docs/archives.md). `image`: `substitute deploy TAG` fetches "
        "`image` from its registry (docs/containers.md).",
        default="git",
    )
    image = optional(
        ImageName,
        "The image that the app runs in, if `runtime.kind` is `podman`, `docker` or `kubernetes`. With "
        '`source = "image"`: the repository of a registry, whose tags `deploy` takes; a tag here is the one that '
        "`deploy` takes without TAG. "
        "Else with `{commit}` in it: what something else has built of that commit (docs/containers.md), or in a "
        "cluster with `dockerfile` what is built here and pushed (docs/kubernetes.md).",
        example="registry.example.com/shop:{commit}",
    )
    dockerfile = optional(
        Inside,
        "The Dockerfile of the app, in `directory`: its image is built there after `build`, by the engine that "
        "`runtime.kind` names (docs/containers.md). In a cluster by `cluster.builder`, and then it is pushed as "
        "`image` says (docs/kubernetes.md).",
        example="Dockerfile",
    )
    build_args = optional(
        Environment,
        "Build arguments for the `dockerfile` (ARG). No secrets: a value is on a command line, and stays in the "
        "history of the image.",
        example={"NODE_VERSION": "22"},
    )
    build_secrets = optional(
        Variables,
        "Which variables of `secrets`, `env_file`, `env` or `pass_env` steps of the `dockerfile` may read: as "
        "/run/secrets/NAME, by `RUN --mount=type=secret,id=NAME`. No value is in the image. Docker needs its buildx.",
        example=["NPM_TOKEN"],
    )
    container_port = optional(
        ContainerPort,
        "The port that the app listens on inside its container, where it cannot be told another one. Without it the "
        "container is on the network of this machine, and the app listens on $PORT as any other.",
        example=80,
    )
    releases = key(
        Releases,
        "How many versions are kept as they were built: `substitute rollback COMMIT` goes to any of them without a "
        "build. 2 are the slots' own. With more, each version gets a directory of its own (docs/releases.md).",
        default=2,
    )
    directory = optional(
        Inside,
        "Where in the repository the app lives. `build` and `start` run there. Hooks run there, too, and those of the "
        "repository are looked for there first. `env_file` stays relative to the root. Without it: the top.",
        example="apps/web",
    )
    watch = key(
        Watched,
        "Paths of the repository, from its top. `deploy` leaves the app alone if the commit changes nothing in them or "
        "in `directory` since the live one (`--force` deploys all the same). Without -a it deploys those apps of the "
        "root that changed (docs/howto/several-apps.md).",
        default=(),
        example=["apps/web", "packages"],
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
    release = key(
        Commands,
        "Shell commands that run once a deployment, with the new code, after the build and before anything of the new "
        "version starts: database migrations. Only `deploy` of a commit that is not live runs them "
        "(docs/migrations.md). Without it: the line `release:` of the Procfile.",
        default=(),
        example=["python manage.py migrate"],
    )
    release_timeout = key(
        PositiveDuration,
        "The time that all `release` commands together may take. After it they are ended, and the deployment has "
        "failed.",
        default="30m",
    )
    clean = key(
        Switch,
        "Whether untracked files (such as node_modules) are removed before a build. What the app itself wrote, and "
        ".gitignore does not name, is not removed but kept in `deploy/NAME/kept`.",
        default=False,
    )
    shared = key(
        SharedPaths,
        "Files and directories that both slots have in common: uploads, a SQLite database, `.env`. Each is kept in "
        "`deploy/NAME/shared`, and every slot has a link to it. A path that ends with `/`, or whose last name has no "
        "dot, is a directory and is made; any other is a file, made by whoever writes it first.",
        default=(),
        example=["media", "db.sqlite3", ".env"],
    )
    start = optional(
        Command,
        "The shell command that runs the app in the foreground. It must listen on port $PORT of the address $HOST. "
        "$ADDRESS is both, HOST:PORT, for a program that wants them together (`gunicorn -b $ADDRESS`); $BIND is the "
        "address alone, as $HOST. SUBSTITUTE_APP, _SLOT, _COMMIT, _PORT and _DIRECTORY are set as well. "
        "Without it: the line `web:` of the Procfile in the app's directory (docs/procfile.md).",
        example="node www.js",
    )
    ports = key(
        Ports,
        "The ports of slot a and of slot b. With several instances the first port of each slot: instance 2 listens on "
        "the one after it, and so on.",
        example=[3001, 3002],
    )
    instances = key(
        Instances,
        "How many instances of the app run in a slot. Each has its own $PORT; requests are spread over them.",
        default=1,
    )
    replicas = key(
        Instances,
        "How many pods a slot has, if `runtime.kind` is `kubernetes`: the cluster places them, and their node's port "
        "leads to them (docs/kubernetes.md).",
        default=1,
    )
    order = key(
        choice("start-first", "stop-first"),
        "`start-first`: the new version is ready before the old one is told to stop. `stop-first`: the old one has "
        "ended before the new one starts, so that the app never runs twice: for a SQLite database with one writer, a "
        "bot, a lock. Requests wait in HAProxy meanwhile (docs/progressive.md). For other processes: "
        "`[app.NAME.process.PROCESS] order`.",
        default="start-first",
    )
    hold = key(
        PositiveDuration,
        "How long a request waits at most while neither version runs. Then it gets a page that says so, with status "
        "503 and Retry-After.",
        default="30s",
        kinds=("stop-first",),
        by="order",
    )
    host = key(Host, "The address that the app listens on.", default="127.0.0.1")
    domains = key(
        Domains,
        "The app gets requests with one of these in the Host header. "
        "An app without domains gets all other requests; only one app may have none.",
        default=(),
        example=["shop.example.com"],
    )
    assets = key(
        AssetPaths,
        "Where files lie whose names change with their content, such as scripts. A GET below these paths that the live "
        "version answers with 404 is asked of the version that stands by (`standby.keep`), so that a page which was "
        "opened before a deployment still finds its own. Needs `haproxy` (docs/progressive.md).",
        default=(),
        example=["/assets/", "/_next/static/"],
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
    secrets = key(
        Secrets,
        "Variables for builds, hooks and the app whose values are not written here. Each is what a shell command "
        "writes, run once a deployment as the user who deploys, or what a file holds (docs/secrets.md). They take "
        "precedence over `env_file`.",
        default={},
        example={
            "DATABASE_URL": {"command": "op read op://shop/database/url"},
            "KEY": {"file": "/etc/shop/key"},
        },
    )
    pass_env = key(
        Variables,
        "Variables of the user who deploys that builds and hooks get. The app does not.",
        default=(),
        example=["SSH_AUTH_SOCK", "https_proxy", "NPM_TOKEN"],
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
    standby = table(StandbyConfig)
    replay = table(ReplayConfig)
    canary = table(CanaryConfig)
    stop = table(StopConfig)
    check = table(CheckConfig)
    verify = table(VerifyConfig)
    hooks = table(HooksConfig)
    limits = table(LimitsConfig)
    build_limits = table(BuildLimitsConfig)
    sandbox = table(SandboxConfig)
    process = key(
        Named(ProcessName, Inner(ProcessConfig), "a table [app.NAME.process.PROCESS] for each process"),
        "",
        default={},
    )
    cron = key(
        Named(CronName, Inner(CronConfig), "a table [app.NAME.cron.CRON] for each cron"),
        "",
        default={},
    )

    def agree(self, written: Collection[str]) -> None:
        """The ports of the two slots may not overlap, and keys that mean nothing beside others not be written."""
        self.refuse_foreign(written, by="source")
        self._agree_on_an_image()
        self._agree_on_sharing()
        if self.assets and self.standby.freeze:
            raise Refused(
                "assets are asked of the version that stands by, and with standby.freeze that answers nothing: "
                "remove one of the two"
            )
        self.refuse_foreign(written, by="order")
        if self.order == "stop-first":
            self._agree_to_run_once()
        first, second = self.ports
        if abs(first - second) < self.instances:
            raise Refused(
                f"ports = [{first}, {second}] leaves no room for {self.instances} instances in each slot; "
                f"write ports that are at least {self.instances} apart, such as [{first}, {first + 100}]"
            )
        if max(self.ports) + self.instances - 1 > _HIGHEST_PORT:
            raise Refused(
                f"{self.instances} instances from port {max(self.ports)} on go beyond {_HIGHEST_PORT}"
            )

    def _agree_on_an_image(self) -> None:
        """Of what an image says by itself, or a version's image, nothing may be written twice."""
        if self.source == "image" and not self.image:
            raise Refused('source = "image" needs image, such as "registry.example.com/shop"')
        if (self.build_args or self.build_secrets) and not self.dockerfile:
            raise Refused("build_args and build_secrets are for the build of a dockerfile, and there is none")
        if self.source == "image" and (self.build or self.directory or self.dockerfile):
            raise Refused('source = "image" brings no files: remove build, directory and dockerfile')
        if self.image and (self.source == "image") is ("{commit}" in self.image):
            raise Refused(
                "image is a repository and its tags are deployed: write it without {commit}"
                if self.source == "image"
                else 'image needs {commit}, as "registry.example.com/shop:{commit}"; or write source = "image"'
            )
        if (self.image or self.dockerfile) and self.user:
            raise Refused("user means nothing in a container: its image says who runs there (USER)")
        if self.container_port and not (self.image or self.dockerfile):
            raise Refused("container_port is that of a container: write image or dockerfile")

    def _agree_on_sharing(self) -> None:
        """SQLite writes a log beside its database: beside a file that is mounted it is each container's own."""
        for path in self.shared if self.image or self.dockerfile else ():
            if path.endswith(_DATABASES):
                raise Refused(
                    f"{path} would be shared without the log that SQLite keeps beside it, and two versions at a time "
                    'would spoil it: share the directory that it lies in, such as "data/"'
                )

    def _agree_to_run_once(self) -> None:
        """Nothing may have two instances of it run at the same time."""
        once = 'order = "stop-first" lets no two instances of the app run at the same time; '
        if self.instances > 1:
            raise Refused(f"{once}write instances = 1")
        if self.standby.keep:
            raise Refused(f"{once}remove [standby], which keeps the old version running")
        if self.drain.background:
            raise Refused(
                f"{once}remove drain.background, which lets the old version finish beside the new one"
            )
        if self.canary.steps:
            raise Refused(f"{once}remove [canary], which divides the clients among two versions")
        if self.verify.share not in {VerifyConfig.keys["share"].initial, 100}:
            raise Refused(f"{once}remove verify.share, which divides the requests among two versions")
