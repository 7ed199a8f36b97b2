"""The cluster that the tests of this package share. Each leaves it as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.clusters.cluster import Cluster, start_cluster
from tests.clusters.images import write_app

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="package")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes, which have the app as version v1."""
    directory = tmp_path_factory.mktemp("cluster")
    with start_cluster(directory, nodes=3) as made:
        tar = directory / "app.tar"
        with tar.open("wb") as out:
            write_app(out, "localhost/shop:v1", "v1")
        made.load_image(tar)
        yield made
