"""The model card says what the stages were trained on."""

from pathlib import Path
from typing import Any

import pytest

from mosar.jobs import assemble
from mosar.platform.data import writer
from mosar.platform.data.shards import Record


def data_set(place: Path, source: str, **more: Any) -> dict[str, str]:
    def produce(_: int) -> list[Record]:
        return [Record("a", "train", "s", {"x.json": b"{}"})]

    recipe = {"source": source, **more}
    found = writer.write_dataset(str(place), [0], produce, recipe=recipe, schema_version=1, concurrency=0)
    return {"location": str(place), "digest": found.digest}


@pytest.mark.parametrize(
    ("stage", "wild", "said", "unsaid"),
    [
        ("virtual", "virtual", ["synthetic captures", "renders of virtual people", "children"], ["make_shards"]),
        ("studio", "photographs", ["source=studio", "and on photographs"], ["synthetic", "virtual light stage"]),
        ("elsewhere", "elsewhere", ["light-stage captures** of unknown origin", "wild data set of unknown"], ["synth"]),
    ],
)
def test_the_card_names_the_source_of_the_data(
    stage: str, wild: str, said: list[str], unsaid: list[str], tmp_path: Path
) -> None:
    data = {"lightstage": data_set(tmp_path / "stage", stage), "wild": data_set(tmp_path / "wild", wild)}
    lines = [{"step": 0}, *({"step": n, "steps_per_s": 0.5, "workers": 2, "device": "cpu"} for n in (900, 1800))]
    hours = assemble._core_hours(lines, threads=1)
    assert hours["core_hours"] == pytest.approx(2 * 1800 / 0.5 / 3600)
    assert assemble._core_hours(lines, threads=2)["core_hours"] == pytest.approx(2 * hours["core_hours"])
    assert assemble._core_hours([{**line, "device": "cuda"} for line in lines], threads=1) == {}
    summary = {"steps": 10, "heldout": {"start": 2.0, "end": 1.0, "baseline": 1.5}, **hours}
    card = assemble._card(
        assemble.Assemble("tiny"), "head", "0" * 64, False, {"geometry": {"data": data}}, {"geometry": summary}
    )
    assert all(words in card for words in said), card
    assert not any(words in card for words in unsaid), card
    assert "| geometry | 10 | 2 | 1 | 1.5 | 2 |" in card
    assert "Training geometry took 2 core hours: 20 Wh" in card


def test_the_card_names_the_weights_that_training_went_on_from(tmp_path: Path) -> None:
    data = {name: data_set(tmp_path / name, "virtual") for name in ("lightstage", "wild")}
    about = {"geometry": {"data": data, "warm_start": {"location": "released", "weights_sha256": "ab" * 32}}}
    card = assemble._card(assemble.Assemble("finetune"), "head", "0" * 64, False, about, {})
    assert "went on from weights that an earlier one had left: geometry (sha256 `abababababab`)." in card


def test_the_card_tells_of_self_training_even_if_one_stage_alone_saw_it(tmp_path: Path) -> None:
    plain = {"lightstage": data_set(tmp_path / "plain", "virtual")}
    captures = {"source": "virtual", "avatars": {"count": 3}}
    worn = {"lightstage": data_set(tmp_path / "self", "estimates", captures=captures)}
    about = {"completion": {"data": plain}, "delight": {"data": worn}, "normals": {"data": plain}}
    card = assemble._card(assemble.Assemble("cpu"), "head", "0" * 64, False, about, {})
    assert "a round of self-training" in card
    assert "children" in card
    without = {name: {"data": plain} for name in about}
    assert "self-training" not in assemble._card(assemble.Assemble("cpu"), "head", "0" * 64, False, without, {})
