"""Runs that start from trained weights: what they start from, what they record, and what is refused at once."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mosar.bundle import locate, open_bundle
from mosar.config import parse
from mosar.datasets.decode import DecodeSpec, decode
from mosar.errors import ConfigError, DataError
from mosar.jobs import hydra_main, shipped, stages, train_all, train_stage, warm_start
from mosar.jobs.train_all import TrainAll
from mosar.platform.data import shards
from mosar.platform.data.manifest import Manifest
from mosar.platform.runs import run
from mosar.platform.training.learner import Learner
from mosar.platform.training.train_config import TrainConfig

RELEASED = Path(locate("released", None))
STAGES = [name for name in hydra_main.stage_names() if "finetune" in hydra_main.presets(name)]


@pytest.fixture
def root(storage: Path, tmp_path: Path) -> Path:
    """A storage root with the data of the preset tiny and a copy of the shipped bundle, ``copy``."""
    (tmp_path / "data").symlink_to(storage / "data")
    shutil.copytree(RELEASED, tmp_path / "bundles" / "copy")
    return tmp_path


def refused(root: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that ``train_stage`` prints when it refuses arguments, before it writes anything."""
    words = ["preset=finetune", f"storage={root}", *arguments]
    code = hydra_main.run(train_stage.main, train_stage.TrainStage, "train_stage", words)
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (hydra_main.BAD_INPUT, 1), error
    assert not (root / "runs").exists()
    return error


def edit(path: Path, change: Any) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def hold_morphable(manifest: dict[str, Any]) -> None:
    """Make a manifest say that the bundle holds its morphable model."""
    manifest["files"][f"{shipped.STAGE}.safetensors"] = {"sha256": manifest["about"]["shipped"].pop(shipped.STAGE)}


def job(root: Path, stage: str, **changes: Any) -> train_stage.TrainStage:
    made = train_all._job(stage, TrainAll("finetune", storage=str(root)))
    return dataclasses.replace(made, **changes)


def batch_of(storage: Path, stage: Any) -> dict[str, dict[str, torch.Tensor]]:
    """Two training samples of the virtual light stage."""
    found = Manifest(str(storage / "data" / "virtual-tiny"))
    (number, row), *_ = [(n, row) for n, row in enumerate(found.shards()) if row.split == "train"]
    members = shards.read_samples(found.shard_location(number), found.extents(number, range(row.samples)))
    spec = stage.streams["lightstage"]
    want = DecodeSpec(spec.fields, spec.map_size, spec.crop_size, False)
    read = [decode(sample, want, 0) for sample in list(members)[:2]]
    return {"lightstage": {name: torch.from_numpy(np.stack([r[name] for r in read])) for name in read[0]}}


def test_the_first_step_has_the_loss_of_the_released_network(root: Path) -> None:
    spec = train_stage.prepare(job(root, "delight"))
    assert spec.fingerprint["warm_start"]["weights_sha256"] in (RELEASED / "manifest.json").read_text()
    stage, module = spec.build()
    theirs = open_bundle(str(RELEASED)).modules["delight"]
    batch = batch_of(root, stage)
    config = dataclasses.replace(spec.config, batch=2)
    assert config.ema > 0
    losses = {}
    for name in ("random", "warm"):
        learner = Learner(config, stage, module if name == "warm" else spec.build()[1], torch.device("cpu"))
        if name == "warm":
            assert spec.start is not None
            spec.start(learner.module)
        learner.share()
        if name == "warm":
            for made in (learner.module, learner.evaluated()):  # the moving average too, statistics included
                assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in made.state_dict().items())
        losses[name] = float(learner.step(0, [batch])[0])
    learner.seed("step", 0, 0)
    wanted = stage.losses(theirs, learner.on_device(batch), learner.generator)
    assert losses["warm"] == pytest.approx(sum(float(value) for value in wanted.values()), rel=1e-6)
    assert abs(losses["random"] - losses["warm"]) > 0.05 * losses["warm"]


SHARES = {"estimated_share": 0.0, "upstream_share": 0.0, "photograph_share": 0.0}
"""Keys that choose a network's input and not its size."""


def test_every_stage_has_the_size_of_the_released_network(root: Path) -> None:
    models = json.loads((RELEASED / "manifest.json").read_text())["about"]["stages"]
    assert set(STAGES) == set(models) - {shipped.STAGE}
    for name in STAGES:
        made = job(root, name)
        mine, theirs = (stages.model_config(name, model) for model in (made.model, models[name]))
        assert {**mine, **SHARES} == {**theirs, **SHARES}
        assert made.warm_start == "released"
        assert all(where.endswith("-tiny") for where in made.data.values())
    weights = warm_start.find("released", "delight", None)
    merged = warm_start.model_from(weights, {"gradient_weight": 0.5, "network": {"width": 8}})
    assert merged["network"] == {**models["delight"]["network"], "width": 8}
    assert (merged["gradient_weight"], merged["cells"]) == (0.5, models["delight"]["cells"])


def test_critic_and_source_flag_start_new_beside_trained_weights(root: Path) -> None:
    config = job(root, "delight")
    for_training = {"photograph_share": 0.25, "critic": {"width": 8, "levels": 2}, "source_flag": True}
    model = stages.model_config("delight", {**config.model, **for_training})
    weights = warm_start.find("released", "delight", None)
    _, module = stages.build("delight", model, None, {})
    random = {key: value.clone() for key, value in module.state_dict().items()}
    warm_start.fill(weights, model, {}, module)
    theirs = open_bundle(str(RELEASED)).modules["delight"].state_dict()
    for key, value in module.state_dict().items():
        assert torch.equal(value, random[key] if key.startswith(("critic.", "source_")) else theirs[key]), key
    assert {"source_2i"} < {key for key in random if key.startswith(("critic.", "source_"))}


def test_unusable_weights_are_refused_at_once(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = root / "bundles" / "copy"
    size = refused(root, capsys, "stage=normals", "model.network.width=8")
    width = json.loads((RELEASED / "manifest.json").read_text())["about"]["stages"]["normals"]["network"]["width"]
    assert "another size than the one to train" in size
    assert f"model.network.width: {width} -> 8" in size
    assert "neither a bundle nor a finished run" in refused(root, capsys, "stage=normals", "warm_start=absent")
    assert "no stage 'segmentation'" in refused(
        root, capsys, "stage=segmentation", "preset=tiny", "warm_start=released"
    )
    shipped_model = refused(root, capsys, "stage=morphable", "preset=tiny", "warm_start=released")
    assert "parents.morphable=shipped" in shipped_model
    content = bytearray((copy / "normals.safetensors").read_bytes())
    content[-1] ^= 1
    (copy / "normals.safetensors").write_bytes(content)
    altered = refused(root, capsys, "stage=normals", "warm_start=copy")
    assert "normals.safetensors was altered" in altered
    (copy / "normals.safetensors").unlink()
    assert "normals.safetensors is missing" in refused(root, capsys, "stage=normals", "warm_start=copy")
    edit(copy / "manifest.json", lambda found: found["about"]["shipped"].update(head="0" * 64))
    assert "another head (sha256 000000000000)" in refused(root, capsys, "stage=delight", "warm_start=copy")


def test_weights_on_another_morphable_model_are_refused(root: Path) -> None:
    edit(
        root / "bundles" / "copy" / "manifest.json",
        lambda found: found["about"]["shipped"].update({shipped.STAGE: "0" * 64}),
    )
    with pytest.raises(DataError, match="was trained on other weights of morphable"):
        train_stage.prepare(job(root, "geometry", warm_start="copy"))


def test_a_run_starts_from_a_finished_run_of_its_stage(root: Path) -> None:
    spec = train_stage.prepare(job(root, "normals"))
    stage, module = spec.build()
    run.begin(spec.location, spec.fingerprint)
    run.finish(spec.location, module.state_dict(), {})
    second = train_stage.prepare(job(root, "normals", warm_start=spec.location, run="second"))
    assert second.start is not None
    torch.manual_seed(1)
    other = stages.build(stage.name, spec.fingerprint["model"], None, {})[1]
    second.start(other)
    assert all(torch.equal(value, module.state_dict()[key]) for key, value in other.state_dict().items())
    with pytest.raises(ConfigError, match="is a run of 'normals', expected one of 'delight'"):
        train_stage.prepare(job(root, "delight", warm_start=spec.location))
    with pytest.raises(ConfigError, match=r"begun with another configuration .*warm_start\.weights_sha256"):
        train_stage.prepare(job(root, "normals", warm_start=spec.location))


def test_all_stages_train_on_the_shipped_morphable_model(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[train_stage.TrainStage] = []

    class EnoughError(Exception):
        pass

    def connect() -> None:
        raise EnoughError

    monkeypatch.setattr(train_stage, "prepare", prepared.append)
    monkeypatch.setattr(train_all.cluster, "connect", connect)
    for config in (
        TrainAll("finetune", storage=str(root)),
        TrainAll("tiny", storage=str(root), parents={shipped.STAGE: shipped.SHIPPED}),
    ):
        prepared.clear()
        with pytest.raises(EnoughError):
            train_all.main(config)
        assert [made.stage for made in prepared] == STAGES  # geometry waits for nothing
        parents = {made.stage: dict(made.parents) for made in prepared}
        assert parents == {name: {} for name in STAGES} | {"geometry": {shipped.STAGE: shipped.SHIPPED}}
    with pytest.raises(ConfigError, match="no stage that is trained requires 'delight'"):
        train_all.main(TrainAll("tiny", storage=str(root), parents={"delight": "mine"}))
    edit(root / "bundles" / "copy" / "manifest.json", hold_morphable)
    with pytest.raises(ConfigError, match=r"name it \(parents.morphable=shipped"):
        train_all.main(TrainAll("tiny", ("morphable", "geometry"), str(root), warm_start="copy"))


def test_finetuning_is_short_and_slow() -> None:
    for name in STAGES:
        recipe, tiny = (
            hydra_main.compose("train_stage", [f"stage={name}", f"preset={p}"]) for p in ("finetune", "tiny")
        )
        config, other = (parse(TrainConfig, values["train"]) for values in (recipe, tiny))
        assert config.warmup < config.steps <= other.steps
        assert config.lr < other.lr
