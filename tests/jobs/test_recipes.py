"""Recipes of every stage, and a step of morphable and geometry at paper size on rendered captures."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from mosar.config import parse
from mosar.datasets import schema
from mosar.datasets.decode import DecodeSpec, decode
from mosar.jobs import hydra_main, stages, train_stage
from mosar.jobs.sources import virtual
from mosar.platform.data.shards import Record
from mosar.platform.data.writer import write_dataset
from mosar.platform.training.train_config import TrainConfig

ROOT = Path(__file__).resolve().parents[2]
ALL = tuple(hydra_main.stage_names())


def test_every_stage_has_every_preset() -> None:
    assert {path.parent.name for path in (ROOT / "models" / "stages").glob("*/stage.py")} == set(ALL)
    assert all(set(hydra_main.presets(name)) - {"finetune"} == {"tiny", "cpu", "paper"} for name in ALL)


@pytest.mark.parametrize("preset", ["tiny", "cpu", "paper"])
@pytest.mark.parametrize("name", ALL)
def test_recipes_are_valid(name: str, preset: str) -> None:
    recipe = hydra_main.compose("train_stage", [f"stage={name}", f"preset={preset}"])
    stage = stages.make(name, recipe["model"], None)
    config = parse(TrainConfig, recipe["train"])
    assert stage.name == name
    assert sum(spec.proportion for spec in stage.streams.values()) == pytest.approx(1.0)
    assert config.batch % config.workers == 0
    assert set(stage.streams) <= set(recipe["data"])


@pytest.mark.parametrize(
    ("head", "version", "message"),
    [("0", schema.VERSION, "another head"), (None, schema.VERSION + 1, "schema version")],
)
def test_data_of_another_head_or_version_are_refused_at_once(
    head: str | None, version: int, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = Record("a-0", "train", "a", {"mesh.npy": schema.npy_bytes(np.zeros((4, 3), np.float32))})
    place, recipe = str(tmp_path / "data" / "virtual-tiny"), {"head": 64 * head} if head else {}
    write_dataset(place, [0], lambda _: [record], recipe=recipe, schema_version=version, concurrency=0)
    arguments = ["stage=normals", "preset=tiny", f"storage={tmp_path}"]
    assert hydra_main.run(train_stage.main, train_stage.TrainStage, "train_stage", arguments) == hydra_main.BAD_INPUT
    error = capsys.readouterr().err
    assert message in error
    assert version == schema.VERSION or "make_shards.py source=virtual preset=tiny" in error
    assert not (tmp_path / "runs").exists()


@pytest.fixture(scope="module")
def captures() -> dict[str, dict[str, bytes]]:
    """One labelled and one wild sample, encoded as in shards."""

    def one(kind: str) -> dict[str, bytes]:
        (record,) = virtual.produce(None, "", virtual.Task(kind, "train", 1, 1, 1, 64, 128))  # type: ignore[arg-type]
        return dict(record.members)

    return {"lightstage": one("lightstage"), "wild": one("wild")}


@pytest.fixture
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("deterministic")
def test_paper_size_takes_a_step(captures: dict[str, dict[str, bytes]]) -> None:
    parents: dict[str, torch.nn.Module] = {}
    for name in ("morphable", "geometry"):
        torch.manual_seed(0)
        stage = stages.make(name, hydra_main.compose("train_stage", [f"stage={name}", "preset=paper"])["model"], None)
        batch = {}
        for stream, spec in stage.streams.items():
            want = DecodeSpec(spec.fields, spec.map_size, spec.crop_size, spec.augment)
            found = decode(captures[stream], want, 0)
            batch[stream] = {field: torch.from_numpy(np.asarray(value))[None] for field, value in found.items()}
        module = stage.build(parents)
        parents[name] = module
        trained = [p for p in module.parameters() if p.requires_grad]
        before = [p.detach().clone() for p in trained]
        loss = torch.stack(list(stage.losses(module, batch, torch.Generator()).values())).sum()
        loss.backward()
        torch.optim.AdamW(trained, 1e-3).step()
        assert loss.isfinite()
        assert any(not torch.equal(a, b) for a, b in zip(before, trained, strict=True))
