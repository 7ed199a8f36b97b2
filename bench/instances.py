"""Measures the deployment of an app that sleeps while it boots, with one web instance and with eight.

    python -m bench.instances [ROUNDS]

Medians of whole commands, in turns.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from bench.site import BenchSite, free_row
from bench.speed import APP

INSTANCES, BOOT = 8, 2.0


def main(rounds: int) -> None:
    """Run both and print them."""
    with tempfile.TemporaryDirectory(prefix="substitute-bench-") as place, ExitStack() as stack:
        sleepy = Path(place) / "app.py"
        sleepy.write_text(f"import time\ntime.sleep({BOOT})\n" + APP.read_text())
        seconds: dict[BenchSite, list[float]] = {}
        for count in (1, INSTANCES):
            directory = Path(place, str(count))
            directory.mkdir()
            site = BenchSite(directory, sleepy)
            stack.callback(site.close)
            configuration = site.root / "substitute.toml"
            first = free_row(2 * INSTANCES)
            text = configuration.read_text().replace(
                f"ports = [{site.ports[0]}, {site.ports[1]}]",
                f"ports = [{first}, {first + INSTANCES}]\ninstances = {count}",
            )
            configuration.write_text(text)
            site.run("deploy")
            seconds[site] = []
        for number in range(rounds):
            for site, taken in seconds.items():
                site.commit(str(number))
                began = time.perf_counter()
                site.run("deploy")
                taken.append(time.perf_counter() - began)
        one, many = (statistics.median(taken) for taken in seconds.values())
        print(f"an app that sleeps {BOOT:g} s while it boots, {rounds} rounds, medians")  # noqa: T201
        print(f"  1 instance   {one:.2f} s")  # noqa: T201
        print(f"  {INSTANCES} instances  {many:.2f} s: {many / one:.2f} x")  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
