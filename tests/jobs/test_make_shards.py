import hashlib
import io
import json
import os
import re
import shutil
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from skimage.data import astronaut

from mosar.datasets import lights, schema
from mosar.datasets.studio.example import write_example
from mosar.jobs import hydra_main, list_held_out
from mosar.jobs.inspection import data_card, dataset_stats
from mosar.jobs.make_shards import MakeShards, main
from mosar.jobs.sources import held_out, photographs
from mosar.jobs.verify_shards import verify
from mosar.models.face_classes import CLASSES
from mosar.models.head import load_head
from mosar.platform.data import shards, writer
from mosar.platform.data.manifest import Manifest
from mosar.platform.data.shards import Record


def run(*arguments):
    return hydra_main.run(main, MakeShards, "make_shards", arguments)


def samples(location):
    found = Manifest(str(location))
    for number, row in enumerate(found.shards()):
        extents = found.extents(number, range(row.samples))
        for members in shards.read_samples(found.shard_location(number), extents):
            yield row.split, members


def test_both_data_sets_are_valid_and_share_no_people(storage):
    subjects = {}
    for name, kind in (("virtual-tiny", "lightstage"), ("wild-tiny", "wild")):
        for split, members in samples(storage / "data" / name):
            schema.validate(members, kind)
            facts = json.loads(members["capture.json"])
            assert facts["split"] == split
            subjects.setdefault(facts["subject"], set()).add((name, split))
            if kind == "lightstage":
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


def _write(folder, rows):
    """A data set of samples, each with its split."""
    records = [Record(f"a{n}", split, f"a{n}", members) for n, (split, members) in enumerate(rows)]
    writer.write_dataset(str(folder), records, lambda row: [row], recipe={}, schema_version=2, concurrency=0)


def test_captures_with_estimates_keep_the_truth_and_leave_out_what_shows_no_face(tmp_path, capsys):
    sizes = [
        "presets.tiny.subjects={train: 1, validation: 1, test: 0}",
        "presets.tiny.wild_subjects={train: 0, validation: 0}",
    ]
    small = [*sizes, "presets.tiny.captures=1", "presets.tiny.map_size=32", "concurrency=0", f"storage={tmp_path}"]
    assert run("source=virtual", *small) == 0
    estimate = ["source=estimates", "captures=virtual-tiny", "fit_steps=1", "concurrency=0", f"storage={tmp_path}"]
    assert run(*estimate) == 0
    assert verify(str(tmp_path / "data" / "estimated-tiny"), 0) == ([], 2)
    captures = {members["capture.json"]: members for _, members in samples(tmp_path / "data" / "virtual-tiny")}
    found = list(samples(tmp_path / "data" / "estimated-tiny"))
    assert len(found) == len(captures) == 2
    for _, members in found:
        before = captures[members["capture.json"]]
        assert {name: members[name] for name in before} == before
        seen = schema.decode_member(members, "seen") > 250
        assert 0.1 < seen.mean() < 0.9
        colour = schema.decode_member(members, "unwrapped")[seen].mean(axis=0)
        face = schema.decode_member(members, "image")[schema.decode_member(members, "mask") > 127].mean(axis=0)
        assert np.abs(colour - face).max() < 30
        assert np.linalg.norm(schema.decode_member(members, "estimate_eye")) > 200
        away = np.linalg.norm(
            schema.decode_member(members, "estimate_mesh") - schema.decode_member(members, "mesh"), axis=1
        )
        assert np.median(away) < 15
    # Photographs get estimates too, and one without colours is left out.
    grey = {
        "image.jpg": schema.encode({"image": np.repeat(schema.decode_member(found[1][1], "image")[..., :1], 3, 2)})[
            "image.jpg"
        ]
    }
    wild = [{schema.MEMBERS[stem][0]: m[schema.MEMBERS[stem][0]] for stem in schema.KINDS["wild"]} for _, m in found]
    _write(tmp_path / "data" / "wild-some", [("train", wild[0]), ("validation", wild[1] | grey)])
    capsys.readouterr()
    assert run(*estimate[:1], "captures=wild-some", "name=some", *estimate[2:]) == 0
    assert "left out, the picture has no colours: 1" in capsys.readouterr().out
    ((_, photograph),) = samples(tmp_path / "data" / "estimated-some")
    assert schema.kind_of(photograph) == "wild"
    assert schema.decode_member(photograph, "unwrapped").shape == (256, 256, 3)
    # Blank pictures in the place of the faces.
    blank = {"image.jpg": schema.encode({"image": np.full((128, 128, 3), 128, np.uint8)})["image.jpg"]}
    other = tmp_path / "other"
    rows = enumerate(samples(tmp_path / "data" / "virtual-tiny"))
    _write(other / "data" / "virtual-tiny", [(split, {**m, **(blank if n else {})}) for n, (split, m) in rows])
    capsys.readouterr()
    assert run(*estimate[:-1], f"storage={other}") == 0
    assert "left out, no face was found: 1" in capsys.readouterr().out
    assert run(*estimate[:-2], "captures=nothing", f"storage={other}") == 2


def test_an_evaluation_set_has_all_its_parts(tmp_path):
    pytest.importorskip("mitsuba")
    tiny = "presets.v2={subjects: {test: 1}, wild_subjects: {}, captures: 3, large: 0, views: 1, map_size: 32, image_size: 64, shard: 6}"  # noqa: E501
    assert run("source=evaluation", "preset=v2", f"storage={tmp_path}", tiny, "concurrency=0") == 0
    facts = {
        name: [json.loads(members["capture.json"]) for _, members in samples(tmp_path / "data" / name)]
        for name in ("eval-v2", "eval_views-v2")
    }
    assert not (tmp_path / "data" / "eval_large-v2").exists()
    assert [f["light"] for f in facts["eval-v2"]] == list(lights.HELD_OUT_LIGHTS)
    assert [f["tone_group"] for f in facts["eval-v2"]] == [0, 0, 0]
    assert [f["yaw"] for f in facts["eval_views-v2"]] == [0.0, -35.0, 35.0]
    assert {f["renderer"] for own in facts.values() for f in own} == {"path"}
    for name in facts:
        assert verify(str(tmp_path / "data" / name), 0)[0] == []


@pytest.fixture(scope="module")
def faces():
    """File name -> bytes: two faces, a smaller copy of one, a black image, and a file that is not an image."""
    face = astronaut()[:256, 80:380]
    images = {
        "A000018.png": face, "A000019.png": face[:, ::-1], "B000011.png": cv2.resize(face, None, fx=0.8, fy=0.8),
        "nobody.png": np.zeros((90, 90, 3), np.uint8),
    }  # fmt: skip
    return {name: png(image) for name, image in images.items()} | {"broken.jpg": b"no picture"}


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def as_files(folder, faces):
    for name, content in faces.items():
        (folder / name).write_bytes(content)


def as_tar(folder, faces):
    with tarfile.open(folder / "all.tar", "w") as tar:
        for name, content in faces.items():
            info = tarfile.TarInfo(f"in/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def as_table(folder, faces):
    rows = [{"image": {"bytes": content, "path": name}} for name, content in faces.items()]
    pq.write_table(pa.Table.from_pylist(rows), folder / "all.parquet", row_group_size=2)


@pytest.mark.parametrize("store", [as_files, as_tar, as_table])
def test_photographs_become_samples_and_the_rest_is_counted(small, faces, tmp_path, capsys, store):
    folder = tmp_path / "in"
    folder.mkdir()
    store(folder, faces)
    assert run("source=photographs", f"folder={folder}", f"storage={tmp_path}", *small) == 0
    location = tmp_path / "data" / "wild-tiny"
    assert sorted(split for split, _ in samples(location)) == ["train", "validation"]
    assert verify(str(location), 0) == ([], 2)
    out = capsys.readouterr().out
    assert "no face was found: 1" in out
    assert "not an image" in out
    assert "a duplicate of another photograph: 1" in out
    ((twice, original),) = json.loads((location / "duplicates.json").read_text()).items()
    assert "B000011" in twice
    assert "A000018" in original


def test_excluded_photographs_and_their_duplicates_are_left_out_and_recorded(small, faces, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    as_files(folder, faces)
    names = tmp_path / "names.txt"
    names.write_text("# held out\nB000011.png\n\n")
    arguments = ["source=photographs", f"folder={folder}", f"storage={tmp_path}", f"exclude={names}", *small]
    assert run(*arguments) == 0
    location = tmp_path / "data" / "wild-tiny"
    ((split, _),) = samples(location)
    assert split == "validation"  # A000018 shows the same picture as the excluded B000011
    assert f"{photographs.HELD_OUT}: 1" in capsys.readouterr().out
    recipe = json.loads((location / "recipe.json").read_text())
    assert json.dumps(recipe).count('"exclude"') == 1
    assert "B000011" not in json.dumps(recipe)
    names.write_text("A000019\n")
    assert run(*arguments) == 2  # another recipe
    assert run(*arguments[:3], f"exclude={tmp_path / 'none.txt'}", *small) == 2
    assert "none.txt" in capsys.readouterr().err


def test_a_segmentation_makes_the_masks_and_another_one_is_refused(small, faces, tmp_path, capsys, ship_segmentation):
    frequency = torch.zeros(len(CLASSES), 64, 64)
    frequency[CLASSES.index("hand"), :32] = 1.0
    frequency[CLASSES.index("skin"), 32:] = 0.4
    frequency[CLASSES.index("facial_hair"), 32:] = 0.6
    folder = tmp_path / "in"
    folder.mkdir()
    as_files(folder, {name: faces[name] for name in ("A000018.png", "A000019.png")})
    command = ["source=photographs", f"folder={folder}", f"storage={tmp_path}", *small]
    assert run(*command, "segmentation=segmentation-cpu") == 2
    assert "runs/segmentation-cpu is no finished run" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
    shipped = ship_segmentation(frequency)
    assert run(*command) == 0
    masks = [schema.decode_member(m, "mask") for _, m in samples(tmp_path / "data" / "wild-tiny")]
    assert len(masks) == 2
    for mask in masks:
        assert not mask[:31].any()
        assert mask[33:, 16:48].all()  # the crop's sides may lie beyond the photograph
    sha256 = hashlib.sha256(shipped.read_bytes()).hexdigest()
    assert json.loads((tmp_path / "data" / "wild-tiny" / "recipe.json").read_text())["recipe"]["segmentation"] == sha256
    assert run(*command, "segmentation=none") == 2
    assert f"recipe.segmentation: '{sha256}' -> None" in capsys.readouterr().err
    assert run("source=virtual", f"storage={tmp_path}", "segmentation=none", *small) == 2


def test_the_validation_portraits_of_a_folder_are_listed(faces, tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    as_files(folder, {name: faces[name] for name in ("A000018.png", "A000019.png")})
    out = tmp_path / "held_out.txt"
    arguments = [f"folder={folder}", f"out={out}"]
    assert hydra_main.run(list_held_out.main, list_held_out.ListHeldOut, "list_held_out", arguments) == 0
    assert held_out.read_names(str(out)) == {"A000019"}
    assert "1 of 2" in capsys.readouterr().out


def test_photographs_with_an_unwanted_flag_are_left_out_and_counted(small, faces, tmp_path, capsys):
    folder = tmp_path / "in"
    (folder / "anna").mkdir(parents=True)
    (folder / "anna" / "A000018.png").write_bytes(faces["A000018.png"])
    face = np.asarray(Image.open(io.BytesIO(faces["A000019.png"])))
    (folder / "A000022.png").write_bytes(png(cv2.GaussianBlur(face, (0, 0), 4)))
    chosen = ["without=[blurred]", "licence=CC0-1.0", "subjects=folder"]
    assert run("source=photographs", f"folder={folder}", f"storage={tmp_path}", *chosen, *small) == 0
    assert "the face is blurred: 1" in capsys.readouterr().out
    ((_, members),) = samples(tmp_path / "data" / "wild-tiny")
    facts = json.loads(members["capture.json"])
    assert (facts["licence"], facts["subject"]) == ("CC0-1.0", "anna")


def test_a_studio_s_captures_become_samples_and_a_report(storage, small, tmp_path, capsys):
    found = Manifest(str(storage / "data" / "virtual-tiny"))
    extents = found.extents(0, [0, 1])
    stage = list(shards.read_samples(found.shard_location(0), extents))
    folder = tmp_path / "in"
    write_example(folder, load_head(), [("a", stage[0]), ("b", stage[1])], "png")
    next(folder.glob("*/b/ao.png")).unlink()
    assert run("source=studio", f"folder={folder}", f"storage={tmp_path}", *small) == 0
    location = tmp_path / "data" / "studio-tiny"
    ((split, members),) = samples(location)
    assert split == "train"
    assert members["mesh.npy"] == stage[0]["mesh.npy"]
    assert verify(str(location), 0) == ([], 1)
    out = capsys.readouterr().out
    assert "left out: ao: expected one file" in out
    assert "captures: 2, of which 1 without a fault" in out
    assert "no samples in split 'validation'" in out
    reports = json.loads((location / "reports.json").read_text())
    assert [r["samples"] for r in reports if r["capture"] == "a"] == [1]
    counts = json.loads((location / "counts.json").read_text())
    assert list(counts["left_out"].values()) == [1]
    made = Manifest(str(location))
    assert "ao: expected one file" in data_card.page(made, dataset_stats.gather(made, 9))


EDITS = {
    r"recipe\.studio\.colour\.ao: 'linear' -> 'srgb'": lambda s: change(s, lambda v: v["colour"].update(ao="srgb")),
    r"recipe\.studio\.licence: 'CC0-1\.0' -> 'ours'": lambda s: change(s, lambda v: v.update(licence="ours")),
    r"recipe\.studio\.splits\.\S+: 'train' -> 'test'": lambda s: change(s, flip_split),
    r"changed: v7000000/neutral\b": lambda s: next(s.glob("*0/*/ao.png")).unlink(),
    r"added: v7000001/again\b": lambda s: shutil.copytree(next(s.glob("*1/neutral")), s / "v7000001" / "again"),
    r"changed: v7000002\b": lambda s: (s / "v7000002" / "neutral.obj").touch(),
}  # fmt: skip


def change(folder, edit):
    path = folder / "studio.json"
    value = json.loads(path.read_text())
    edit(value)
    path.write_text(json.dumps(value))


def flip_split(value):
    value["splits"] |= {next(s for s, split in value["splits"].items() if split == "train"): "test"}


def test_an_edited_studio_folder_is_refused_or_imported_under_another_name(small, tmp_path, capsys):
    folder, location = tmp_path / "in", tmp_path / "data" / "studio-tiny"
    assert run("source=studio", f"example={folder}", *small) == 0
    assert run("source=studio", f"example={folder}", *small) == 2
    command = ["source=studio", f"folder={folder}", f"storage={tmp_path}", *small]
    assert run(*command) == 0
    before = Manifest(str(location)).digest
    assert Manifest(str(location)).splits == ["test", "train", "validation"]
    for message, edit in EDITS.items():
        shutil.copytree(folder, tmp_path / "whole")  # with the files' times
        edit(folder)
        capsys.readouterr()
        assert run(*command) == 2
        assert re.search(message, capsys.readouterr().err), message
        shutil.rmtree(folder)
        (tmp_path / "whole").rename(folder)
    assert run(*command) == 0
    assert Manifest(str(location)).digest == before
    assert run(*command, "name=spring") == 0
    assert Manifest(f"{tmp_path}/data/studio-spring").samples == 3


def test_edited_photographs_are_refused_and_stand_beside_virtual_ones(storage, small, faces, tmp_path, capsys):
    shutil.copytree(storage, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "in"
    folder.mkdir()
    as_files(folder, {name: faces[name] for name in ("A000018.png", "A000019.png")})
    command = ["source=photographs", f"folder={folder}", f"storage={tmp_path}", *small]
    assert run(*command) == 2
    assert "begun with another recipe" in capsys.readouterr().err
    assert run(*command, "name=portraits") == 0
    assert Manifest(f"{tmp_path}/data/wild-portraits").samples == 2
    (folder / "A000018.png").write_bytes(faces["nobody.png"])
    assert run(*command, "name=portraits") == 2
    assert "changed: ." in capsys.readouterr().err


def test_a_data_set_of_which_everything_was_left_out_says_why(small, faces, tmp_path, capsys):
    as_files(tmp_path, {"nobody.png": faces["nobody.png"]})
    assert run("source=photographs", f"folder={tmp_path}", f"storage={tmp_path}/out", *small) == 2
    assert "no samples; left out, no face was found: 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "source"),
        (("source=virtual", "preset=huge"), "preset"),
        (("source=photographs",), "folder"),
        (("source=photographs", "folder=/nowhere/at/all"), "no folder"),
        (("source=studio", "folder=/nowhere/at/all"), "no folder"),
        (("source=photographs", "folder=/", "without=[old]"), "without"),
        (("source=virtual", "presets.tiny.captures=0"), "captures"),
        (("source=evaluation", "preset=v2", "presets.v2.views=73"), "views 73"),
        (("source=virtual", "glasses=1.2"), "glasses: got 1.2"),
        (("source=evaluation", "preset=v2", "glasses=0.5"), "glasses"),
        (("source=virtual", "name=../x"), "name"),
        (("source=virtual", "example=/tmp/x"), "example"),
        (("source=virtual", "presets.tiny.colour=1"), "colour"),
    ],
)
def test_invalid_input_is_a_one_line_error(arguments, message, tmp_path, capsys):
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
        pytest.skip("MOSAR_PORTRAITS is not set to a folder of official portraits")
    few = tmp_path / "in"
    few.mkdir()
    for path in sorted(Path(folder).iterdir())[:6]:
        (few / path.name).symlink_to(path)
    assert run("source=photographs", f"folder={few}", f"storage={tmp_path}", *small) == 0
    assert sum(1 for _ in samples(tmp_path / "data" / "wild-tiny")) == 6
