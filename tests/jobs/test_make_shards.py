import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from mosar.datasets import lights, schema
from mosar.jobs import entry
from mosar.jobs.make_shards import MakeShards, main
from mosar.jobs.sources import photographs
from mosar.platform import shards
from mosar.platform.manifest import Manifest


def run(*arguments):
    return entry.run(main, MakeShards, "make_shards", arguments)


def samples(location):
    found = Manifest(str(location))
    for number, row in enumerate(found.shards()):
        extents = found.extents(number, range(row.samples))
        for members in shards.read(found.shard_location(number), extents):
            yield row.split, members


def test_both_data_sets_are_whole_and_apart(storage):
    subjects = {}
    for name, kind in (("virtual-tiny", "stage"), ("wild-tiny", "wild")):
        for split, members in samples(storage / "data" / name):
            schema.validate(members, kind)
            facts = json.loads(members["capture.json"])
            assert facts["split"] == split
            subjects.setdefault(facts["subject"], set()).add((name, split))
            if kind == "stage":
                wanted = lights.TRAIN_LIGHTS if split == "train" else lights.HELD_OUT_LIGHTS
                assert facts["light"] in wanted
    assert len(subjects) == 5
    assert all(len(places) == 1 for places in subjects.values())
    assert (storage / "data" / "virtual-tiny" / "sheet.png").is_file()


def test_the_same_command_gives_the_same_bytes(storage, small, tmp_path):
    assert run("source=virtual", f"storage={tmp_path}", *small) == 0
    for name in ("virtual-tiny", "wild-tiny"):
        files = sorted(p.name for p in (storage / "data" / name).iterdir() if p.is_file())
        for file in files:
            assert (tmp_path / "data" / name / file).read_bytes() == (storage / "data" / name / file).read_bytes(), file


def test_photographs_become_samples_and_the_rest_is_counted(small, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    face = astronaut()[:256, 80:380]
    for name, image in {"A000018": face, "A000019": face[:, ::-1], "nobody": np.zeros((90, 90, 3), np.uint8)}.items():
        Image.fromarray(image).save(folder / f"{name}.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    assert run("source=photographs", f"folder={folder}", f"storage={tmp_path}", *small) == 0
    location = tmp_path / "data" / "wild-tiny"
    assert sorted(split for split, _ in samples(location)) == ["train", "validation"]
    out = capsys.readouterr().out
    assert "no face was found: 1" in out
    assert "not an image" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "source"),
        (("source=virtual", "preset=huge"), "preset"),
        (("source=photographs",), "folder"),
        (("source=photographs", "folder=/nowhere/at/all"), "no folder"),
        (("source=virtual", "presets.tiny.captures=0"), "captures"),
        (("source=virtual", "presets.tiny.colour=1"), "colour"),
    ],
)
def test_mistakes_are_one_line(arguments, message, tmp_path, capsys):
    assert run(*arguments, f"storage={tmp_path}") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_official_portraits_are_split_by_their_number():
    assert photographs.split_of("A000019") == "validation"
    assert photographs.split_of("A000022") == "train"
    names = [f"photo {i}" for i in range(2000)]
    assert 0.05 < np.mean([photographs.split_of(n) == "validation" for n in names]) < 0.15


def test_official_portraits(small, tmp_path):
    if not (folder := os.environ.get("MOSAR_PORTRAITS")):
        pytest.skip("MOSAR_PORTRAITS names no folder of official portraits")
    few = tmp_path / "in"
    few.mkdir()
    for path in sorted(Path(folder).iterdir())[:6]:
        (few / path.name).symlink_to(path)
    assert run("source=photographs", f"folder={few}", f"storage={tmp_path}", *small) == 0
    assert sum(1 for _ in samples(tmp_path / "data" / "wild-tiny")) == 6
