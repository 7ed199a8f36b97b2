"""What instances and builds may use of the machine, and may not do.

[app.NAME.limits], [app.NAME.build_limits], [app.NAME.sandbox].
"""

from __future__ import annotations

from substitute.config.tables import Table, key, optional
from substitute.config.values import Many, Memory, Niceness, Processors, Switch, Weight


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


class BuildLimitsConfig(Table):
    """What a build may take from the version that serves. `nice` works everywhere, the others need systemd."""

    nice = key(
        Niceness,
        "How much less urgent a build is than everything else, as by the program `nice`. The kernel derives the "
        "priority of its reads and writes from it.",
        default=10,
    )
    cpu_weight = key(
        Weight,
        "Its share of the processors when others want them, too; everything else has 100. Without systemd only "
        "`nice` counts.",
        default=20,
    )
    io_weight = key(Weight, "The same for disks.", default=20)
    memory = optional(
        Memory,
        "If the processes of one build command use more, the kernel kills one of them.",
        example="1G",
    )
    cpu = optional(Processors, "Percent of one processor, however idle the machine is.", example="150%")


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
