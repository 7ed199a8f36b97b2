"""``substitute adopt``."""

from __future__ import annotations

from substitute.cli.command import argument, command
from substitute.cli.options import Call, app_option, json_option, number, root_option, wait_option


@command
@argument("port", click_type=number(1, 65535), required=False)
@wait_option
@app_option
@json_option
@root_option
def adopt(call: Call, port: int | None, app: str | None) -> None:
    """Make the app that runs on PORT already the live version, without touching it.

    The default PORT is the one of the app's two ports on which something listens. The app may be any process: a
    systemd unit, or started by PM2, Docker, Podman or supervisord. It goes on as it is. The first deployment lets it
    finish its requests and stops it with the commands of whatever started it.
    """
    from substitute.core.model.events import Notice  # noqa: PLC0415
    from substitute.core.operate import adoption  # noqa: PLC0415

    site = call.site()
    balancer = site.config.balancer
    adoption.adopt(site.host, site.app(app), port, listed=balancer.kind == "passive")
    if balancer.kind == "haproxy":
        site.host.emit(
            Notice(
                "Before the first deployment, point your nginx to it. In place of the app's own port write "
                f"`proxy_pass http://{balancer.listen};`, then type `nginx -s reload`."
            )
        )
