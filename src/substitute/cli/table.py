"""All commands in one table, so that help, completion, and what finds the one that is typed need not import them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from substitute.cli.command import Command

SECTIONS = {
    "Every day": {
        "deploy": ("substitute.cli.deploy:deploy", "Make a commit live without failing a request."),
        "rollback": ("substitute.cli.rollback:rollback", "Go back to the version that was live before."),
        "promote": ("substitute.cli.promote:promote", "Make live what `deploy --hold` has brought up."),
        "abort": ("substitute.cli.abort:abort", "Stop what `deploy --hold` has brought up."),
        "restart": (
            "substitute.cli.restart:restart",
            "Build and start the live commit again, without downtime.",
        ),
        "run": (
            "substitute.cli.run:run",
            "Run a command in the live version: a console, a one-off task.",
        ),
        "release": ("substitute.cli.release:release", "Show the latest migration, or mark it as a contract."),
    },
    "Inspect": {
        "status": (
            "substitute.cli.status:status",
            "Show what runs and what gets the traffic, as observed now.",
        ),
        "logs": ("substitute.cli.logs:logs", "Show what the app writes."),
        "cron": ("substitute.cli.cron:cron", "List what runs at fixed times; run, pause or resume it."),
        "history": ("substitute.cli.history:history", "List the deployments, the latest first."),
        "config": (
            "substitute.cli.config:config",
            "Print the configuration with its defaults, or its schema.",
        ),
    },
    "Prove": {
        "check": (
            "substitute.cli.check:check",
            "SIGTERM test: does the app finish its requests when stopped?",
        ),
        "drill": (
            "substitute.cli.drill:drill",
            "Deploy under load, and count the requests that fail.",
        ),
        "demo": ("substitute.cli.demo:demo", "Watch a deployment of a sample app under load."),
    },
    "By hand": {
        "up": ("substitute.cli.up:up", "Start everything that should run, as after a reboot."),
        "down": ("substitute.cli.down:down", "Let running requests finish, then stop everything."),
        "start": ("substitute.cli.start:start", "Start one instance."),
        "stop": ("substitute.cli.stop:stop", "Stop one instance."),
        "standby": (
            "substitute.cli.standby:standby",
            "End the version before, which runs on without requests.",
        ),
        "lock": ("substitute.cli.lock:lock", "Refuse deployments, with a reason."),
        "unlock": ("substitute.cli.unlock:unlock", "Allow deployments again."),
    },
    "Set up": {
        "adopt": ("substitute.cli.adopt:adopt", "Take over the app that runs today, without touching it."),
        "install": (
            "substitute.cli.install:install",
            "Start everything after a reboot: write a unit, or a cron line.",
        ),
        "hosts": ("substitute.cli.hosts:hosts", "List the hosts that `--hosts` reaches, or set them up."),
        "uninstall": ("substitute.cli.uninstall:uninstall", "Undo install."),
        "completion": (
            "substitute.cli.completion:completion",
            "Print the script for completion in bash, zsh or fish.",
        ),
        "help": ("substitute.cli.help:help_", "Explain a command, or the words that substitute uses."),
    },
}
"""The sections of the help. Each command: where it is (``module:function``), and its line in the help."""

COMMANDS = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


BETWEEN_HOSTS = {
    "obey": ("substitute.cli.obey:obey", ""),
    "resolve": ("substitute.cli.resolve:resolve", ""),
}
"""What substitute types itself, on another host: in no help."""


def command_of(name: str) -> Command | None:
    """Import the command, where there is one of that name."""
    entry = COMMANDS.get(name) or BETWEEN_HOSTS.get(name)
    if entry is None:
        return None
    module, _, variable = entry[0].partition(":")
    command: Command = getattr(import_module(module), variable)
    return command
