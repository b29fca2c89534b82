"""People of evaluation sets: tones in equal groups, shapes with detail that the head's modes cannot show; and gaze."""

import numpy as np
import pytest
import torch

from mosar.datasets import lights, schema
from mosar.datasets.virtual_stage import capture as captures
from mosar.datasets.virtual_stage import detail, gaze
from mosar.datasets.virtual_stage.subjects import DARKNESS, sample_subject
from mosar.jobs.make_shards import Sizes
from mosar.jobs.sources import evaluation, virtual
from mosar.models.head.morph import neutral, shape

SIZES = Sizes({"train": 9, "test": 9}, {"train": 9}, captures=2, map_size=64, image_size=64, shard=6, large=1, views=2)


def test_detail_lies_outside_the_span_and_on_the_face(head):
    face = head.region("face")
    both = np.concatenate([head.archetypes_av3, head.modes_mv3])[:, face].reshape(len(head.mode_names) + len(
        head.archetype_names), -1).T.astype(np.float64)  # fmt: skip
    sizes = []
    for seed in (1, 2, 3):
        offset, size = detail.outside_span(head, seed)
        flat = offset[face].ravel()
        best = np.linalg.lstsq(both, flat, rcond=None)[0]
        left = np.linalg.norm(flat - both @ best) / np.linalg.norm(flat)
        assert left > 0.8  # hardly anything of it can be fitted
        assert np.abs(offset[np.unique(head.triangles_f3[head.material_f != 0])]).max() == 0
        length = np.linalg.norm(offset, axis=1)
        assert length[head.template_v3[:, 2] < -90].max() == 0
        assert 0.5 <= size <= 1.0
        assert length[face].max() < 6
        edges = head.triangles_f3[face[head.triangles_f3].all(1)][:, :2]
        step = np.linalg.norm(offset[edges[:, 0]] - offset[edges[:, 1]], axis=1)
        apart = np.linalg.norm(head.template_v3[edges[:, 0]] - head.template_v3[edges[:, 1]], axis=1)
        assert np.median(step / apart) < 0.12  # smooth: mm from vertex to vertex, per mm
        sizes.append(size)
        mirrored = offset[head.mirror_v] * [-1, 1, 1]
        assert np.linalg.norm(offset - mirrored) > 0.5 * np.linalg.norm(offset)
    assert len(set(sizes)) == 3


def test_tones_fill_five_equal_groups():
    low = np.linspace(*DARKNESS, 6)
    from mosar.models.head import load_head

    for person in range(7):
        seed = evaluation.seed_of(None, person)
        assert seed == evaluation.seed_of(None, person)
        tone = sample_subject(load_head(None), seed).tone[0]
        assert low[person % 5] <= tone <= low[person % 5 + 1]
    assert sum(evaluation.has_detail(p) for p in range(70)) == 35
    by_tone = [[evaluation.has_detail(p) for p in range(70) if p % 5 == group] for group in range(5)]
    assert all(sum(own) == 7 for own in by_tone)


def test_evaluation_sets_share_no_people_with_other_sets():
    tasks = {part: evaluation.tasks(part, 7, SIZES, "fast") for part in evaluation.PARTS}
    for own in tasks.values():
        assert [p for task in own for p in task.people] == list(range(7))
    assert [c[0] for c in tasks["eval"][0].captures] == list(lights.HELD_OUT_LIGHTS)
    assert {task.image_size for task in tasks["eval_large"]} == {evaluation.LARGE_PX}
    assert len({(light, number) for light, number, _ in tasks["eval_views"][0].captures}) == 1
    most = max(
        t.first + t.count for kind in ("lightstage", "wild") for t in virtual.tasks(kind, SIZES.subjects, SIZES, 999)
    )
    assert most < evaluation.FIRST


@pytest.fixture(scope="module")
def views():
    task = evaluation.Task((6,), (("night", 3, 0.0), ("night", 3, 35.0)), 64, 96, "fast")
    return [dict(record.members) for record in evaluation.produce(None, "", task)]


def test_views_show_one_expression_under_one_light(views, head):
    front, side = views
    for name in ("light.npy", "neutral.npy", "diffuse.png"):
        assert front[name] == side[name]
    facts = [schema.decode_member(v, "capture") for v in views]
    assert [f["yaw"] for f in facts] == [0.0, 35.0]
    assert all((f["tone_group"], f["person"], f["split"]) == (1, 6, "test") for f in facts)
    weights = [{n: w for n, w in f["expression"].items() if not n.startswith("eyeLook")} for f in facts]
    assert weights[0] == weights[1]
    turned = [np.array(schema.decode_member(v, "camera")["rotation"])[2] for v in views]
    angle = [np.degrees(np.arctan2(-r[0], -r[2])) for r in turned]
    assert abs(abs(angle[1] - angle[0]) - 35) < 8
    person = sample_subject(head, evaluation.seed_of(None, 6))
    plain = neutral(head, *(torch.from_numpy(w)[None] for w in (person.archetype_a, person.mode_m)))[0].numpy()
    off = np.linalg.norm(schema.decode_member(front, "neutral") - plain, axis=1)
    assert facts[0]["detail_mm"] > 0
    assert off[head.region("face")].mean() > 0.2


def test_exposure_tells_tone_as_the_metering_says():
    def luminance(way, brightness):
        rng = np.random.default_rng(0)
        return np.median([captures._exposure(rng, (way,), brightness) * brightness for _ in range(300)])

    ratio = {way: luminance(way, 0.05) / luminance(way, 0.35) for way in ("incident", "mean", "spot")}
    assert ratio["incident"] == pytest.approx(0.05 / 0.35, rel=0.1)
    assert ratio["incident"] < ratio["mean"] < ratio["spot"]
    assert ratio["spot"] > 0.6


def test_eyes_turn_to_the_camera(head):
    target = np.array([300.0, 100.0, 1500.0])  # to the subject's left, and up
    rng = np.random.default_rng(3)
    weights = np.mean([gaze.look_at(head, np.zeros(len(head.expression_names)), target, rng) for _ in range(20)], 0)
    meshes = shape(
        head,
        torch.full((2, len(head.archetype_names)), 1 / len(head.archetype_names)).double(),
        torch.zeros(2, len(head.mode_names)).double(),
        torch.from_numpy(np.stack([0 * weights, weights])),
    ).numpy()
    balls = np.unique(head.triangles_f3[head.material_f == 1])
    for side in (1, -1):
        own = balls[head.template_v3[balls, 0] * side > 0]
        before, after = (m[own] - m[own].mean(0) for m in meshes)
        u, _, w = np.linalg.svd(before.T @ after)
        way = (u @ w).T @ [0, 0, 1]
        assert np.degrees(np.arccos(way @ target / np.linalg.norm(target))) < 6
