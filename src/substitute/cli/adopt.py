"""``substitute adopt``."""

from __future__ import annotations

import click

from substitute.cli.options import Call, app_option, json_option, root_option


@click.command()
@click.argument("port", type=click.IntRange(1, 65535), required=False)
@app_option
@json_option
@root_option
@click.pass_obj
def adopt(call: Call, port: int | None, app: str | None) -> None:
    """Make the app that runs on PORT today the live version, without touching it.

    PORT is by default the one of the app's two ports on which something listens. It may be any process, a unit of
    systemd's, or be kept by PM2, Docker, Podman or supervisord. It goes on as it is; the first deployment lets it
    finish its requests, and stops it by what keeps it.
    """
    from substitute.core import adoption  # noqa: PLC0415
    from substitute.core.events import Notice  # noqa: PLC0415

    site = call.site()
    balancer = site.config.balancer
    adoption.adopt(site.host, site.app(app), port, listed=balancer.kind == "passive")
    if balancer.kind == "haproxy":
        site.host.emit(
            Notice(
                "Before the first deployment, lead your nginx to it: in place of the app's own port write "
                f"`proxy_pass http://{balancer.listen};`, then type `nginx -s reload`."
            )
        )
