"""Stages can be trained on the shipped morphable model, and a bundle holds it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from mosar import bundle
from mosar.bundle import open_bundle
from mosar.errors import BundleError, ConfigError
from mosar.jobs import hydra_main, release, shipped, stages, train_stage
from mosar.jobs.assemble import Assemble, main
from mosar.models.head import load_head
from mosar.models.morphable import pretrained
from mosar.models.reconstruct import steps
from mosar.platform.runs import run


def finish_untrained(root: Path, parents: dict[str, str]) -> None:
    """Finished runs of all stages but the morphable model, with the weights that they start from."""
    for name in steps.stages():
        if name == shipped.STAGE:
            continue
        model = hydra_main.compose("train_stage", [f"stage={name}", "preset=tiny"])["model"]
        stage = stages.make(name, model, None)
        mine = {parent: parents.get(parent, str(root / "runs" / f"{parent}-tiny")) for parent in stage.requires}
        _, module = stages.build(name, model, None, mine)
        fingerprint: dict[str, Any] = {
            "stage": name,
            "model": stages.model_config(name, model),
            "head": {"path": None, "digest": load_head().digest},
            "parents": {parent: train_stage.finished_parent(parent, where) for parent, where in mine.items()},
            "train": {"threads": 1},
            "data": {stream: {"location": "gone", "digest": "0" * 64} for stream in ("lightstage", "wild")},
        }
        where = str(root / "runs" / f"{name}-tiny")
        run.begin(where, fingerprint)
        held_out = {"start": 2.0, "end": 1.0, "baseline": 1.5}
        run.finish(where, module.state_dict(), {"steps": 0, "heldout": held_out})


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A bundle of untrained stages on the shipped morphable model."""
    root = tmp_path_factory.mktemp("storage")
    finish_untrained(root, {shipped.STAGE: shipped.SHIPPED})
    main(Assemble("tiny", "mine", str(root)))  # geometry was trained on the shipped model, so it is the default
    return str(root / "bundles" / "mine")


def test_a_bundle_on_the_shipped_model(assembled: str) -> None:
    found = open_bundle(assembled)
    ours, theirs = found.modules[shipped.STAGE].state_dict(), pretrained.load(load_head()).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert "shipped with the program" in (Path(assembled) / "MODEL_CARD.md").read_text()


def test_a_release_holds_the_same_weights_in_fewer_bits(assembled: str, tmp_path: Path) -> None:
    release.main(release.Release(assembled, str(tmp_path / "released")))
    first, found = open_bundle(assembled), open_bundle(str(tmp_path / "released"))
    assert found.head.digest == first.head.digest
    for name, module in first.modules.items():
        state = found.modules[name].state_dict()
        for key, value in module.state_dict().items():
            large = value.ndim >= 3 and value.numel() >= 4096 and "mean" not in key and name != "geometry"
            rows = tuple(range(1, value.ndim))
            largest = value.double().abs().amax(dim=rows, keepdim=True) if large else torch.zeros(1)
            off = (state[key].double() - value.double()).abs()
            assert bool((off <= 1e-6 + 2e-3 * value.double().abs() + largest / 250).all()), key
    size = {path.name: path.stat().st_size for path in (tmp_path / "released").iterdir()}
    before = (Path(assembled) / "delight.safetensors").stat().st_size
    assert size["delight.safetensors"] < 0.4 * before
    assert not {"head.npz", "morphable.safetensors"} & size.keys()
    assert str(tmp_path) not in (tmp_path / "released" / "manifest.json").read_text()


def test_a_shipped_stage_stands_beside_new_ones(tmp_path: Path) -> None:
    """The shipped geometry brings its morphable model, its weights and what its training reported."""
    finish_untrained(tmp_path, {shipped.STAGE: shipped.SHIPPED})
    main(Assemble("tiny", "mine", str(tmp_path), {"geometry": shipped.SHIPPED}))
    found, released = open_bundle(str(tmp_path / "bundles" / "mine")), open_bundle(bundle.locate(bundle.RELEASED, None))
    ours, theirs = (each.modules["geometry"].state_dict() for each in (found, released))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert re.search(r"\| geometry \| \d{3,} \|", (tmp_path / "bundles" / "mine" / "MODEL_CARD.md").read_text())


def test_a_release_of_another_version_is_refused(assembled: str, tmp_path: Path) -> None:
    release.main(release.Release(assembled, str(tmp_path)))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["about"]["shipped"]["morphable"] = "0" * 64
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="another version of the program, with another morphable model"):
        open_bundle(str(tmp_path))


def test_only_the_morphable_model_is_shipped_for_others_to_build_on() -> None:
    config = train_stage.TrainStage("x", "tiny", train={}, run="x", parents={"geometry": shipped.SHIPPED})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="only morphable is shipped"):
        train_stage.parent_location(config, "geometry")
    config = train_stage.TrainStage("x", "tiny", train={}, run="x", parents={"morphable": shipped.SHIPPED})  # type: ignore[arg-type]
    about = train_stage.finished_parent("morphable", train_stage.parent_location(config, "morphable"))
    assert len(about["weights_sha256"]) == 64
