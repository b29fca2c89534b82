"""Virtual people with the skins of avatars: self-training data."""

import json
import shutil

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

import mosar
from mosar.datasets import schema
from mosar.datasets.virtual_stage import photographed_skin, skin
from mosar.datasets.virtual_stage.subjects import sample_subject, skin_tone
from mosar.datasets.virtual_stage.uv_regions import atlas
from mosar.jobs import hydra_main
from mosar.jobs.make_shards import MakeShards, main
from mosar.jobs.sources import avatars
from mosar.models.colour import to_linear
from mosar.platform.data import shards
from mosar.platform.data.manifest import Manifest

SMALL = ("presets.tiny.captures=1", "presets.tiny.map_size=64", "presets.tiny.image_size=96", "concurrency=0")


def run(*arguments):
    return hydra_main.run(main, MakeShards, "make_shards", arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Ten avatars of one photograph, one that shows little, one of a photograph without colours, and a broken one."""
    place = tmp_path_factory.mktemp("avatars")
    with mosar.load(size=512, fit_steps=0) as reconstructor:
        reconstructor(astronaut()).save(place / "a0")
    facts = json.loads((place / "a0" / "avatar.json").read_text())
    for number in range(1, 13):
        shutil.copytree(place / "a0", place / f"a{number}")
    little = facts | {"confidence": {"seen": 0.1, "mirrored": 0.1, "inpainted": 0.8}}
    (place / "a10" / "avatar.json").write_text(json.dumps(little))
    grey = facts | {"remarks": ["the photograph has no colours: the hues of skin and light are assumed"]}
    (place / "a11" / "avatar.json").write_text(json.dumps(grey))
    (place / "a12" / "avatar.json").write_text("{")
    return place


def test_avatars_that_show_too_little_are_left_out_and_counted(folder, tmp_path):
    found = avatars.find(str(folder))
    assert [place.rsplit("/", 1)[1] for place in found.places] == [f"a{n}" for n in range(10)]
    assert found.left_out == {
        "too little of the face is seen": 1,
        "the photograph has no colours": 1,
        "unreadable": 1,
    }
    shutil.copytree(folder, tmp_path / "other")
    picture = cv2.imread(str(tmp_path / "other" / "a3" / "maps" / "diffuse.png"), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(tmp_path / "other" / "a3" / "maps" / "diffuse.png"), picture[::-1])
    assert avatars.find(str(tmp_path / "other")).sha256 != found.sha256


def test_a_skin_brings_its_tone_and_its_detail_and_leaves_hair_and_hidden_parts(folder, head):
    worn = avatars.read_skin(str(folder / "a0"))
    a = atlas(head, 64)
    before = sample_subject(head, 5)
    person = photographed_skin.wear(a, before, worn)
    assert person.traits["beard"] == person.traits["freckles"] == 0.0
    assert np.array_equal(person.mode_m, before.mode_m)
    painted = skin.paint(a, person)
    dressed = photographed_skin.dress(a, painted, worn)
    size = (64, 64)
    albedo, confidence = (
        cv2.resize(m, size, interpolation=cv2.INTER_AREA) for m in (worn.diffuse_hw3, worn.confidence_ss)
    )
    albedo, confidence = albedo.reshape(-1, 3)[a.inside_n], confidence.ravel()[a.inside_n]
    shown = (confidence > 0.9) & (a.areas["pocket"] < 0.01) & (painted.scalp_n < 0.01)
    hidden = confidence < 0.1
    assert shown.sum() > 200
    assert hidden.sum() > 200
    np.testing.assert_allclose(dressed.diffuse_n3[shown], np.clip(albedo[shown], 0.002, 0.95), atol=2e-3)
    np.testing.assert_array_equal(dressed.diffuse_n3[hidden], painted.diffuse_n3[hidden])
    front = shown & (a.areas["front"] > 0.9)
    np.testing.assert_allclose(skin_tone(person.tone), albedo[front].mean(axis=0), rtol=0.25)
    assert np.array_equal(dressed.height_n, painted.height_n)


def test_people_of_other_splits_wear_other_skins(folder, tmp_path, capsys):
    people = ["presets.tiny.subjects={train: 3, validation: 2, test: 0}", "presets.tiny.wild_subjects={}"]
    command = ["source=virtual", *SMALL, *people, f"storage={tmp_path}", f"avatars={folder}", "avatar_share=1.0"]
    assert run(*command, "name=self", "licence=CC-BY-4.0") == 0
    printed = capsys.readouterr().out
    assert (
        "10 avatars; left out, the photograph has no colours: 1; too little of the face is seen: 1; unreadable: 1"
        in printed
    )
    found = Manifest(str(tmp_path / "data" / "virtual-self"))
    assert found.about["recipe"]["avatars"]["count"] == 10
    worn = {}
    for number, row in enumerate(found.shards()):
        extents = found.extents(number, range(row.samples))
        for members in shards.read_samples(found.shard_location(number), extents):
            schema.validate(members, "lightstage")
            facts = schema.decode_member(members, "capture")
            assert facts["licence"] == "CC-BY-4.0"
            worn.setdefault(row.split, set()).add(facts["skin"])
            linear = to_linear(torch.from_numpy(schema.decode_member(members, "diffuse") / 255.0)).numpy()
            assert linear.std() > 0.01
    assert worn["validation"] == {"a9"}
    assert "a9" not in worn["train"]
    assert run(*command, "name=self") == 2  # without the licence: another recipe
    assert "begun with another recipe" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("source=evaluation", "preset=v2", "avatars=/tmp"), "avatars: expected with source=virtual only"),
        (("source=virtual", "avatars=/nowhere/at/all"), "there is no folder /nowhere/at/all"),
        (("source=virtual", "avatars=/tmp", "avatar_share=2"), "avatar_share: got 2"),
    ],
)
def test_invalid_input_is_a_one_line_error(arguments, message, tmp_path, capsys):
    assert run(*arguments, f"storage={tmp_path}") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_folder_without_avatars_is_refused(tmp_path, capsys):
    assert run("source=virtual", f"avatars={tmp_path}", f"storage={tmp_path}/out", *SMALL) == 2
    assert "has no usable avatar" in capsys.readouterr().err
