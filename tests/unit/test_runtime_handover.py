from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from substitute.core.model.programs import Inspection, Process
from substitute.runtimes.handover import RuntimeHandover

if TYPE_CHECKING:
    from substitute.core.ports.runtime import Runtime


@dataclass
class Keeper:
    keeps: dict[str, int] = field(default_factory=dict)

    def kept(self) -> set[str]:
        return set(self.keeps)

    def inspect(self, name: str) -> Inspection:
        return Inspection(Process(self.keeps[name], 1, "boot") if name in self.keeps else None)


def succession(*, later: dict[str, int], earlier: dict[str, int]) -> RuntimeHandover:
    return RuntimeHandover(*(cast("Runtime", cast("Any", Keeper(keeps))) for keeps in (later, earlier)))


def test_what_both_keep_is_that_of_the_later_one_while_the_other_ends() -> None:
    runtime = succession(later={"haproxy": 20}, earlier={"haproxy": 10, "shop_a": 11})
    seen = {name: runtime.inspect(name).process for name in ("haproxy", "shop_a", "shop_b")}
    assert {name: process and process.pid for name, process in seen.items()} == {
        "haproxy": 20,
        "shop_a": 11,
        "shop_b": None,
    }
