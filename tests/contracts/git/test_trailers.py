"""The trailer of a commit's message, by the user's own git."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.contracts.repositories import Place


def committed(place: Place, message: str) -> str:
    (place.repository.directory / "page").write_text(message)
    return place.repository.commit_all(message)


def test_a_contract_is_found_in_any_commit_that_a_deployment_brings(place: Place) -> None:
    before = committed(place, "Prepare\n\nIt says Substitute-Contract: yes in its middle only.\n\nNot here.")
    marked = committed(place, "Drop\n\nBecause.\n\nRefs: 1\nsubstitute-contract: Yes")
    after = committed(place, "Later\n\nSubstitute-Contract: no")
    source = place.source()
    assert source.resolve(place.a, None).commit == after
    assert source.contract(place.a, after, since=place.first) == marked
    assert source.contract(place.a, after, since=before) == marked
    assert source.contract(place.a, after, since=marked) is None
    assert source.contract(place.a, before, since=place.first) is None
    assert source.contract(place.a, after, since=None) is None
    assert source.contract(place.a, marked, since="0" * 40) == marked
