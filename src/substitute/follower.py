"""What a root's runtime keeps where the root is one of several edges of a cluster: it follows the others.

It is no judge: it says that this edge lives, has the journal and the balancer go by what was told, and settles what a
dead edge, or a deployer of this one that was killed with its guardian, has left.
"""

from __future__ import annotations

import sys
import time
import traceback
from typing import TYPE_CHECKING

from substitute.core.model.errors import SubstituteError
from substitute.core.operate.edges import look_around
from substitute.wiring.opening import open_site

if TYPE_CHECKING:
    from substitute.core.model.events import Event
    from substitute.wiring.site import Site

_PAUSE = 1.0


def main(root: str) -> None:
    """Look around each second, for ever."""
    said = ""
    while True:
        try:
            with_edges(open_site(root, _tell))
            said = ""
        except SubstituteError as error:
            if str(error) != said:  # and not each second
                print(error, flush=True)  # noqa: T201
            said = str(error)
        except Exception:  # noqa: BLE001  # in a second it is tried again
            traceback.print_exc()
        time.sleep(_PAUSE)


def with_edges(site: Site) -> None:
    """Do it once."""
    try:
        look_around(site.host, site.all_known().values())
    finally:
        site.close()


def _tell(event: Event) -> None:
    print(time.strftime("%Y-%m-%d %H:%M:%S"), getattr(event, "message", event), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
