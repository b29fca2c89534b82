import pytest

from mosar.jobs import hydra_main
from mosar.jobs.make_shards import MakeShards, main


@pytest.fixture(scope="session")
def small():
    """Overrides that make the tiny preset as small as possible."""
    return [
        "presets.tiny.subjects={train: 2, validation: 1, test: 0}",
        "presets.tiny.wild_subjects={train: 1, validation: 1}",
        "presets.tiny.captures=1", "presets.tiny.map_size=32", "presets.tiny.image_size=64", "concurrency=0",
    ]  # fmt: skip


@pytest.fixture(scope="session")
def storage(small, tmp_path_factory):
    """A storage root with both virtual data sets; tests must not write to it."""
    root = tmp_path_factory.mktemp("storage")
    assert hydra_main.run(main, MakeShards, "make_shards", ["source=virtual", f"storage={root}", *small]) == 0
    return root
