"""Virtual people with the skins of avatars: self-training data."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

import mosar
from mosar.datasets import schema
from mosar.datasets.virtual_stage import photographed_skin, skin
from mosar.datasets.virtual_stage.subjects import sample_subject, skin_tone
from mosar.datasets.virtual_stage.uv_regions import atlas
from mosar.errors import ConfigError
from mosar.jobs import hydra_main
from mosar.jobs.make_shards import MakeShards, main
from mosar.jobs.sources import avatars
from mosar.platform.data import shards
from mosar.platform.data.manifest import Manifest

SMALL = ("presets.tiny.captures=1", "presets.tiny.map_size=64", "presets.tiny.image_size=96", "concurrency=0")


def run(*arguments):
    return hydra_main.run(main, MakeShards, "make_shards", arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Avatars of one photograph: A000009 is for validation, A000002 is blue; four others cannot be used."""
    place = tmp_path_factory.mktemp("avatars")
    with mosar.load(size=512, fit_steps=0) as reconstructor:
        reconstructor(astronaut()).save(place / "A000001")
    facts = json.loads((place / "A000001" / "avatar.json").read_text())
    for number in (2, 9, 11, 12, 13, 14):
        shutil.copytree(place / "A000001", place / f"A0000{number:02d}")
    file = str(place / "A000002" / "maps" / "diffuse.png")
    cv2.imwrite(file, cv2.imread(file) // np.array([1, 2, 4], np.uint8))
    cv2.imwrite(str(place / "A000011" / "maps" / "confidence.png"), np.zeros((256, 256), np.uint8))
    grey = facts | {"remarks": ["the photograph has no colours: the hues of skin and light are assumed"]}
    (place / "A000012" / "avatar.json").write_text(json.dumps(grey))
    (place / "A000013" / "avatar.json").write_text(json.dumps(facts | {"head_digest": "0" * 64}))
    (place / "A000014" / "maps" / "diffuse.png").unlink()
    return place


def test_avatars_that_cannot_be_used_are_left_out_and_counted(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.parent)
    found = avatars.find(folder.name)
    assert found.places == tuple(str(folder / f"A00000{n}") for n in (1, 2, 9))
    reasons = {
        "too little of the face is seen",
        "the photograph has no colours",
        "of another format or head",
        "unreadable",
    }
    assert found.left_out == dict.fromkeys(reasons, 1)
    assert found.of_split("validation") == found.of_split("test") == (str(folder / "A000009"),)
    without = avatars.find(str(folder), frozenset({"A000001"}))
    assert without.left_out["held out for evaluation"] == 1
    assert without.sha256 != found.sha256
    with pytest.raises(ConfigError, match="is itself an avatar"):
        avatars.find(str(folder / "A000001"))


def test_a_skin_brings_its_tone_and_its_detail_and_leaves_what_is_drawn_as_hairs(folder, head):
    worn = avatars.read_skin(folder / "A000001")
    worn = replace(worn, diffuse_hw3=0.6 * worn.diffuse_hw3)  # well within the range of human skin
    a = atlas(head, 64)
    beard = cv2.resize(np.asarray(a.map(a.areas["beard"])), worn.diffuse_hw3.shape[:2])[..., None]
    before = sample_subject(head, 5)
    bearded = replace(worn, diffuse_hw3=(worn.diffuse_hw3 * (1 - 0.9 * beard)).astype(np.float32))
    for each in (worn, bearded):
        person = photographed_skin.wear(a, before, each)
        assert person.traits["beard"] == person.traits["freckles"] == 0.0
        assert np.array_equal(person.mode_m, before.mode_m)
        painted = skin.paint(a, person)
        dressed = photographed_skin.dress(a, painted, each)
        albedo = photographed_skin._texels(a, each.diffuse_hw3)
        confidence = photographed_skin._texels(a, each.confidence_ss)
        hairs = sum(a.areas[name] for name in ("beard", "moustache", "brows", "lashes", "pocket")) + painted.scalp_n
        shown = (confidence > 0.9) & (hairs < 0.01)
        kept = (confidence < 0.1) | (a.areas["brows"] > 0.99)
        assert shown.sum() > 200
        assert kept.sum() > 200
        np.testing.assert_allclose(dressed.diffuse_n3[shown], np.clip(albedo[shown], 0.002, 0.95), atol=2e-3)
        np.testing.assert_allclose(dressed.diffuse_n3[kept], painted.diffuse_n3[kept], atol=1e-3)
        cheeks = shown & (a.areas["cheeks"] > 0.7)
        np.testing.assert_allclose(skin_tone(person.tone), np.median(albedo[cheeks], axis=0), rtol=0.35)
        assert np.array_equal(dressed.classes_n, painted.classes_n)
    # Nobody wears a beard whose class would be skin.
    chin = (a.areas["beard"] > 0.99) & (confidence > 0.9)
    assert chin.sum() > 20
    np.testing.assert_allclose(dressed.diffuse_n3[chin], painted.diffuse_n3[chin], atol=5e-3)


def test_people_wear_the_skins_of_their_split(folder, tmp_path, capsys):
    people = ["presets.tiny.subjects={train: 4, validation: 2, test: 0}", "presets.tiny.wild_subjects={train: 1}"]
    command = ["source=virtual", *SMALL, *people, f"storage={tmp_path}", f"avatars={folder}", "avatar_share=0.75"]
    assert run(*command, "name=self", "licence=CC-BY-4.0") == 0
    printed = capsys.readouterr().out
    assert "avatars for training 2, for other splits 1; left out, of another format or head: 1" in printed
    names = set()
    for name in ("virtual-self", "wild-self"):
        found = Manifest(str(tmp_path / "data" / name))
        assert found.about["recipe"]["avatars"]["count"] == 3
        for number, row in enumerate(found.shards()):
            extents = found.extents(number, range(row.samples))
            for members in shards.read_samples(found.shard_location(number), extents):
                facts = schema.decode_member(members, "capture")
                worn = facts.get("skin")
                names.add((row.split, worn))
                assert facts["licence"] == ("CC0-1.0" if worn is None else "CC-BY-4.0")
                if name == "virtual-self":
                    schema.validate(members, "lightstage")
                    red, _, blue = schema.decode_member(members, "diffuse")[20:44, 20:44].reshape(-1, 3).mean(axis=0)
                    assert (blue > red) == (worn == "A000002")  # the middle of the face
    assert {worn for split, worn in names if split != "train"} <= {None, "A000009"}
    assert {("train", "A000002"), ("train", "A000001"), ("train", None)} <= names
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
