"""Heads from OBJ files: another topology gives a complete head, and every fault is reported."""

import contextlib
import io
import re

import numpy as np
import pytest
import torch

from mosar.datasets.head_building import obj_folder
from mosar.datasets.head_building.uv_metrics import chart_metrics
from mosar.jobs import hydra_main, make_head, stages
from mosar.models.head import load_head
from mosar.models.morphable.synthetic_people import sample_people

SQUARE = "v -1 0 0\nv 1 0 0\nv 1 1 0\nv -1 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nf 1/1 2/2 3/3 4/4\n"


def write_obj(path, vertices, triangles, uv, uv_triangles, material, names):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in vertices] + [f"vt {u:.6f} {v:.6f}" for u, v in uv]
    for i, name in enumerate(names):
        lines.append(f"usemtl {name}")
        for triangle, place in zip(triangles[material == i] + 1, uv_triangles[material == i] + 1, strict=True):
            lines.append("f " + " ".join(f"{a}/{b}" for a, b in zip(triangle, place, strict=True)))
    path.write_text("\n".join(lines) + "\n")


def split(triangles, chosen, corners, first):
    """Replace every chosen triangle by three around a new corner in its middle."""
    new = first + np.arange(len(chosen))
    fans = [np.stack([corners[chosen][:, i], corners[chosen][:, (i + 1) % 3], new], 1) for i in range(3)]
    return np.concatenate([np.delete(triangles, chosen, 0), *fans])


def synthetic(head, spec, count=2):
    """A decoded batch of smooth random values in the right shapes and ranges, with real meshes of the head."""
    generator = torch.Generator().manual_seed(0)
    (people,) = sample_people(head, count, 0)

    def grey(channels, size):
        coarse = torch.rand(count, channels, 4, 4, generator=generator)
        smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
        return (60 + 120 * smooth).to(torch.uint8)

    focal = 4.0 * spec.crop_size
    normal = torch.zeros(count, 3, spec.map_size, spec.map_size)
    normal[:, 2] = 1.0
    light = torch.zeros(count, 81, 3)
    light[:, 0] = 3.0
    points = torch.rand(count, 478, 3, generator=generator) * spec.crop_size
    points[..., 2] = 1.0
    every = {
        "mesh": people.meshes(),
        "neutral": people.neutral_nv3,
        "normal": normal,
        "image": grey(3, spec.crop_size),
        "mask": torch.full((count, 1, spec.crop_size, spec.crop_size), 255, dtype=torch.uint8),
        "intrinsics": torch.tensor([[focal, 0, spec.crop_size / 2], [0, focal, spec.crop_size / 2], [0, 0, 1]]).expand(
            count, 3, 3
        ),
        "rotation": torch.diag(torch.tensor([1.0, -1.0, -1.0])).expand(count, 3, 3),
        "translation": torch.tensor([[0.0, -30.0, 900.0]]).expand(count, 3),
        "landmarks": points,
        "detected": points,
        "blendshapes": torch.rand(count, 52, generator=generator),
        "found": torch.ones(count),
        "classes": torch.randint(0, 11, (count, 1, spec.crop_size, spec.crop_size), generator=generator).byte(),
        "light": light,
        **{
            name: grey(c, spec.map_size)
            for name, c in (("diffuse", 3), ("specular", 1), ("ao", 1), ("translucency", 1))
        },
    }
    return {name: every[name] for name in spec.fields}


@pytest.fixture(scope="module")
def other_head(tmp_path_factory):
    """The default head in centimetres, with an extra vertex in every ninth triangle, and few modes and expressions."""
    head, folder = load_head(), tmp_path_factory.mktemp("heads") / "scan"
    chosen = np.arange(0, len(head.triangles_f3), 9)
    triangles = split(head.triangles_f3, chosen, head.triangles_f3, len(head.template_v3))
    uv_triangles = split(head.uv_triangles_f3, chosen, head.uv_triangles_f3, len(head.uv_w2))
    material = np.concatenate([np.delete(head.material_f, chosen), *[head.material_f[chosen]] * 3])
    uv = np.concatenate([head.uv_w2, head.uv_w2[head.uv_triangles_f3[chosen]].mean(1)])

    def write(name, offset_v3=0.0):
        vertices = head.template_v3 + offset_v3
        vertices = np.concatenate([vertices, vertices[head.triangles_f3[chosen]].mean(1)]) / 10
        write_obj(folder / name, vertices, triangles, uv, uv_triangles, material, head.material_names)

    write("neutral.obj")
    for i in (1, 4):
        write(f"archetypes/person{i}.obj", head.archetypes_av3[i])
    for i in (20, 60, 100):
        write(f"modes/{head.mode_names[i]}.obj", head.modes_mv3[i])
    for name in ("jawOpen", "eyeBlinkLeft", "mouthSmileRight"):
        write(f"expressions/{name}.obj", head.expressions_ev3[head.expression_names.index(name)])
    return folder, len(head.template_v3) + len(chosen)


@pytest.fixture(scope="module")
def made(other_head):
    """The file of the other head, and the output printed while it was made."""
    folder, _ = other_head
    arguments, said = [f"source={folder}", "unit_mm=10", "views=12"], io.StringIO()
    with contextlib.redirect_stdout(said):
        assert hydra_main.run(make_head.main, make_head.MakeHead, "make_head", arguments) == 0
    return folder.parent / "scan.npz", said.getvalue()


def test_another_topology_becomes_a_head(other_head, made):
    _, vertices = other_head
    output, said = made
    assert "missing: 49 of 52 expressions: browDownLeft" in said
    assert "missing: no eyes.png: one plain colour" in said
    assert "missing: no lashes" in said
    assert f"{vertices} vertices" in said
    head, default = load_head(output), load_head()
    assert head.name == "scan"
    assert (len(head.archetype_names), len(head.mode_names), len(head.expression_names)) == (2, 3, 3)
    np.testing.assert_allclose(head.template_v3[: len(default.template_v3)], default.template_v3, atol=0.01)
    assert (head.landmark_triangle_l >= 0).sum() > 300
    assert chart_metrics(head, 256)["uv_flipped_triangles"] == 0
    for name in ("lips", "nose", "mouth", "brows", "scalp", "neck", "face", "interior"):
        a, b = head.region(name)[: len(default.template_v3)], default.region(name)
        assert a.any()
        if name in ("nose", "scalp", "neck", "face", "interior"):
            assert (a & b).sum() > 0.5 * (a | b).sum()


@pytest.mark.parametrize("name", hydra_main.stage_names())
def test_every_stage_takes_a_step_on_another_topology(made, name):
    path, _ = made
    torch.manual_seed(0)

    def build(stage_name, parents):
        recipe = hydra_main.compose("train_stage", [f"stage={stage_name}", "preset=tiny"])
        stage = stages.make(stage_name, recipe["model"], str(path))
        return stage, stage.build(parents)

    parents = {"morphable": build("morphable", {})[1]} if name == "geometry" else {}
    stage, module = build(name, parents)
    batch = {stream: synthetic(load_head(str(path)), spec) for stream, spec in stage.streams.items()}
    stage.fit_statistics(module, [batch, batch])
    generator = torch.Generator().manual_seed(0)
    trained = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trained, 1e-3)
    torch.stack(list(stage.losses(module, batch, generator).values())).sum().backward()
    before = [p.detach().clone() for p in trained]
    optimiser.step()
    assert any(not torch.equal(a, b) for a, b in zip(before, trained, strict=True))
    assert stage.metrics(module.eval(), batch, generator)["loss"].isfinite()
    assert stage.preview(module, batch, generator).shape[0] == 3


def kit(folder):
    """ICT-FaceKit's form: two faces of skin in two tiles, an eye, a tooth, a lash; two modes, three expressions."""
    squares = np.array([[x, y, 0] for x in (-3.0, -1.0, 1.0, 3.0) for y in (0.0, 1.0)])
    vertices = np.concatenate([squares, np.arange(12).reshape(4, 3) + 10.0])
    places = "".join(f"vt {u} {v}\n" for u, v in ((0.25, 0), (1, 0), (1, 1), (0, 1)))
    places += "".join(f"vt {u + 1} {v}\n" for u, v in ((0, 0), (1, 0), (1, 1), (0, 1)))
    places += "vt 3.5 2.1\nvt 3.9 2.1\nvt 3.9 2.9\n" + "vt 0.1 0.1\nvt 0.2 0.1\nvt 0.2 0.2\n"
    faces = (
        "usemtl M_Face\nf 1/1 3/2 4/3 2/4\nusemtl M_BackHead\nf 3/5 5/6 6/7 4/8\n"
        "usemtl M_ScleraLeft\nf 5/9 7/10 8/11\nusemtl M_Teeth\nf 6/12 8/13 7/14\n"
        "usemtl M_EyeLashes\nf 9/1 10/2 11/3 12/4\n"
    )
    folder.mkdir()

    def put(name, moved=None, by=(0, 0, 0)):
        points = vertices.copy()
        if moved is not None:
            points[moved] += by
        text = "".join(f"v {x} {y} {z}\n" for x, y, z in points)
        (folder / f"{name}.obj").write_text(f"mtllib ICTFaceModelMaterial.mtl\n{text}{places}{faces}")

    put("generic_neutral_mesh")
    put("identity000", 0, (0, 0, 0.5))
    put("identity001", 1, (0.2, 0, 0))
    put("browInnerUp_L", 2, (0, 0.3, 0))
    put("browInnerUp_R", 3, (0, 0.4, 0))
    put("PupilDilate_L", 9, (0, 0, 1))


def test_the_ict_facekit_is_read_as_it_comes(tmp_path):
    kit(tmp_path / "FaceXModel")
    fields, notes = obj_folder.read_obj_folder(tmp_path / "FaceXModel", 10.0)
    assert fields["template_v3"].shape == (8, 3)
    assert fields["template_v3"].min() == -30
    assert fields["material_f"].tolist() == [0, 0, 0, 0, 1, 2]
    assert fields["mode_names"] == ("identity000", "identity001")
    assert fields["mode_std_m"].tolist() == [1.0, 1.0]
    np.testing.assert_allclose(fields["modes_mv3"][0, 0], [0, 0, 5])
    assert fields["expression_names"] == ("browInnerUp",)
    np.testing.assert_allclose(fields["expressions_ev3"][0, 2:4], [[0, 3, 0], [0, 4, 0]])
    assert any("PupilDilate_L" in note for note in notes)
    # The two tiles of the skin lie side by side on a grid of two by two; a material in one tile keeps its size.
    corners = fields["uv_w2"][fields["uv_triangles_f3"]]
    np.testing.assert_allclose(corners[0], [[0.125, 0], [0.5, 0], [0.5, 0.5]])
    np.testing.assert_allclose(corners[2], [[0.5, 0], [1, 0], [1, 0.5]])
    np.testing.assert_allclose(corners[4], [[0.5, 0.1], [0.9, 0.1], [0.9, 0.9]], atol=1e-6)
    np.testing.assert_allclose(corners[5], [[0.1, 0.1], [0.2, 0.1], [0.2, 0.2]], atol=1e-6)


def test_groups_are_named_by_the_user(tmp_path):
    kit(tmp_path / "FaceXModel")
    groups = {"eyes": ("m_teeth",), "mouth": (), "left_out": ("M_ScleraLeft", "M_EyeLashes")}
    fields, _ = obj_folder.read_obj_folder(tmp_path / "FaceXModel", 10.0, groups=groups)
    assert fields["material_f"].tolist() == [0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "neutral.obj is missing"),
        ({"neutral.obj": ""}, "neutral.obj: no faces"),
        ({"neutral.obj": SQUARE.replace("/1", "").replace("/2", "").replace("/3", "").replace("/4", "")}, "without UV"),
        ({"neutral.obj": SQUARE.replace("vt 1 1", "vt 1 3")}, "reach over the edge of a tile"),
        ({"neutral.obj": SQUARE.replace("vt 1 1", "vt 1 -1")}, r"UV in \[-1.000, 1.000\]"),
        ({"neutral.obj": SQUARE.replace("v 1 1 0", "v 1 nan 0")}, "neutral.obj: vertex 3 is not finite"),
        ({"neutral.obj": SQUARE.replace("v 1 1 0", "v 1 one 0")}, "neutral.obj, line 3: could not convert"),
        ({"neutral.obj": SQUARE + "f 1/1 2/2 4/4\n"}, "not manifold: faces share the edge from vertex 1 to 2"),
        ({"neutral.obj": SQUARE.replace("4/4", "9/4")}, "line 9: vertex 9 does not exist"),
        ({"neutral.obj": SQUARE + "f 1/1 1/1 2/2\n"}, "a face uses a vertex twice"),
        (
            {"neutral.obj": "v 5 5 5\n" + SQUARE.replace("f 1/1 2/2 3/3 4/4", "f 2/1 3/2 4/3 5/4")},
            "vertex 1 belongs to no",
        ),
        (
            {"neutral.obj": SQUARE, "modes/nose.obj": "v 0 0 1\n" + SQUARE},
            "nose.obj: 5 vertices, expected the neutral's 4",
        ),
        (
            {"neutral.obj": SQUARE, "expressions/jawOpen.obj": SQUARE.replace("f 1/1 2/2", "f 2/2 1/1")},
            "jawOpen.obj: its faces are not the neutral's",
        ),
        ({"neutral.obj": SQUARE, "eyes.png": "no image"}, "eyes.png: not an image"),
        ({"neutral.obj": SQUARE}, "no face was found"),
    ],
)
def test_every_fault_is_reported(tmp_path, capsys, files, message):
    for name, content in files.items():
        (tmp_path / "bad" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bad" / name).write_text(content)
    (tmp_path / "bad").mkdir(exist_ok=True)
    arguments = [f"source={tmp_path / 'bad'}", "views=12"]
    assert hydra_main.run(make_head.main, make_head.MakeHead, "make_head", arguments) == hydra_main.BAD_INPUT
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(message, said), said


def test_a_missing_folder_and_invalid_values_are_refused(tmp_path, capsys):
    def run(*arguments):
        return hydra_main.run(make_head.main, make_head.MakeHead, "make_head", arguments), capsys.readouterr().err

    assert run(f"source={tmp_path / 'none'}") == (
        2,
        f"error: {tmp_path / 'none'}: not a folder; expected one with neutral.obj\n",
    )
    assert run("unit_mm=0")[0] == 2
    assert "expected one of" in run("sauce=makehuman")[1]
