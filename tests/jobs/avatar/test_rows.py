"""The rows that must lose do lose, each where it should."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from mosar.jobs.evaluation.avatar import appearance, drifts, on_portraits, on_truth, pictures, shape, tables
from mosar.jobs.evaluation.avatar.record import Record
from mosar.jobs.evaluation.avatar.rows import ANOTHER, AVERAGE, LANDMARK_FIT, NO_NETWORK, OURS, PASTED, ROWS, build_rows
from mosar.jobs.evaluation.judges import load


@pytest.fixture(scope="module")
def rows(captures, estimates, detected, prior):
    others = (2, 2, 0)
    return [
        build_rows(ours, p, prior, estimates[other]) for ours, p, other in zip(estimates, detected, others, strict=True)
    ]


@pytest.fixture(scope="module")
def summary(rows, captures, prior):
    references = appearance.References(prior.albedo_13hw, None)
    average = shape.array(prior.neutral_1v3)
    records = [
        Record(
            c.key,
            c.subject,
            facts={"yaw": c.yaw},
            values={name: on_truth.measure(row, c, references) for name, row in own.items()},
            arrays={name: on_truth.set_arrays(row, c, average) for name, row in own.items()},
        )
        for own, c in zip(rows, captures, strict=True)
    ]
    return tables.summarise(records, tables.truth_statistics, seed=0)


@pytest.fixture(scope="module")
def pictured(rows, detected):
    """Measures of the first capture as a photograph without truth."""
    view = pictures.view_of(rows[0][OURS].photograph_hw3, detected[0])
    return on_portraits.portrait_measures(rows[0], view, detected[0], None)[0]


def test_the_truth_itself_is_without_error(captures, prior):
    references = appearance.References(prior.albedo_13hw, None)
    found = on_truth.measure(captures[0].truth, captures[0], references)
    assert max(found[name] for name in tables.SHAPE) < 1e-5
    assert found["diffuse_delta_e"] == found["hidden_diffuse_delta_e"] == 0.0
    assert found["normal_deg"] < 0.01
    assert found["relit_psnr_db"] == found["ao_psnr_db"] == 60.0


def test_a_gain_takes_the_tone_out_of_the_albedo_and_means_are_what_maps_are_compared_with(captures, prior):
    truth = captures[0].truth
    half = replace(truth, maps=replace(truth.maps, diffuse=0.5 * truth.maps.diffuse))
    references = appearance.References(prior.albedo_13hw, None, {"ao": truth.maps.ao})
    found = on_truth.measure(half, captures[0], references)
    assert found["diffuse_delta_e"] > 5
    assert found["gained_diffuse_delta_e"] < 0.1
    assert found["mean_ao_psnr_db"] == found["ao_psnr_db"] == 60.0


def test_a_face_beside_the_optical_axis_may_have_another_pose_that_looks_the_same(captures):
    """A camera that is turned about its own centre sees the same rays."""
    truth, angle = captures[0].truth, 0.1
    cos, sin = np.cos(angle), np.sin(angle)
    turn = torch.tensor([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]], dtype=torch.float32)[None]
    camera = truth.camera
    place = (turn @ camera.translation_b3[..., None])[..., 0]
    found = replace(truth, camera=replace(camera, rotation_b33=turn @ camera.rotation_b33, translation_b3=place))
    assert shape.pose_degrees(found, truth) == pytest.approx(np.degrees(angle), abs=1e-2)
    assert shape.pose_degrees(found, truth, from_ray=True) < 0.3


def test_every_row_is_there(rows, summary):
    assert set(rows[0]) == set(ROWS) - {NO_NETWORK} == set(summary["rows"])  # that row is another reconstruction
    assert summary["count"] == 3
    assert summary["failed"] == 0


def test_pasted_wins_the_re_render_only(pictured, summary):
    psnr = {row: measures["render_psnr_db"] for row, measures in pictured.items()}
    assert max(psnr, key=psnr.__getitem__) == PASTED
    assert psnr[AVERAGE] < psnr[OURS] - 3
    found = summary["rows"]
    assert found[PASTED]["relit_psnr_db"] < found[OURS]["relit_psnr_db"] - 5
    assert found[PASTED]["shading_left"] > 0.6
    assert abs(found[OURS]["shading_left"]) < 0.4
    assert found[PASTED]["diffuse_delta_e"] > 2 * found[OURS]["diffuse_delta_e"]
    assert found[PASTED]["light_spread"] > 0.8
    assert found[OURS]["light_spread"] < 0.1


def test_pasted_drifts_with_the_photograph(rows, detected, prior):
    """A perfect method gives the same avatar for a brighter photograph; the pasted photograph is brighter."""
    ours = rows[0][OURS]
    image = drifts.DRIFTS["one_stop_brighter"](ours.photograph_hw3)
    again = build_rows(replace(ours, photograph_hw3=image), detected[0], prior, None)
    found = {
        row: on_portraits.drift_measures(rows[0][row], again[row], "one_stop_brighter", ours)
        for row in (OURS, PASTED, AVERAGE)
    }
    assert found[OURS]["rephoto_delta_e_one_stop_brighter"] < 0.01
    assert found[PASTED]["rephoto_delta_e_one_stop_brighter"] > 8
    assert found[AVERAGE]["rephoto_delta_e_one_stop_brighter"] > 8
    assert found[AVERAGE]["rephoto_mm_one_stop_brighter"] < 1e-3


def test_the_average_head_recovers_nothing_of_the_person(summary):
    found = summary["rows"]
    assert found[AVERAGE]["slope"] == pytest.approx(0.0, abs=1e-6)
    assert found[AVERAGE]["correlation"] == pytest.approx(0.0, abs=1e-3)
    assert found[AVERAGE]["vertex_over_mean_head"] == pytest.approx(1.0)
    assert found[OURS]["slope"] == pytest.approx(1.0, abs=0.25)
    assert found[OURS]["correlation"] > 0.8
    assert found[LANDMARK_FIT]["vertex_over_landmark_fit"] == 1.0


def test_another_person_has_another_shape_and_skin(summary):
    found = summary["rows"]
    assert found[ANOTHER]["neutral_vertex_mm"] > 2 * found[OURS]["neutral_vertex_mm"]
    assert found[ANOTHER]["diffuse_delta_e"] > found[OURS]["diffuse_delta_e"]
    assert found[ANOTHER]["slope"] < 0.3


def test_another_person_and_the_average_are_not_alike(rows, detected):
    root = os.environ.get("MOSAR_STORAGE")
    judges = load.load(root) if root else None
    if judges is None:
        pytest.skip("MOSAR_STORAGE holds no judges: python jobs/fetch_judges.py fetches them")
    records = []
    for number in (0, 2):
        own = rows[number]
        view = pictures.view_of(own[OURS].photograph_hw3, detected[number])
        values, arrays = on_portraits.portrait_measures(own, view, detected[number], judges)
        records.append(Record(str(number), str(number), facts={"yaw": 0.0}, values=values, arrays=arrays))
    found = tables.summarise(records, tables.portrait_statistics, seed=0)["rows"]
    for name in ("likeness_render_ratio", "likeness_relit_ratio"):
        assert found[ANOTHER][name] > found[OURS][name] + 0.1
        assert found[AVERAGE][name] > found[OURS][name]
    assert found[OURS]["likeness_rank1"] == 1.0
    assert found[ANOTHER]["likeness_rank1"] < 1.0
    assert found[OURS]["judge_nme_percent"] < 6


def test_without_judges_likeness_is_null(pictured):
    records = [Record("a", "a", values=pictured), Record("b", "b", values=pictured)]
    found = tables.summarise(records, tables.portrait_statistics, seed=0)
    assert found["rows"][OURS]["likeness_rank1"] is None
    assert found["rows"][OURS]["judge_nme_percent"] is None
    assert found["intervals"][OURS]["judge_nme_percent"] is None
    assert found["rows"][OURS]["render_psnr_db"] == pytest.approx(pictured[OURS]["render_psnr_db"])


def test_left_right_shading_of_a_pasted_photograph_is_the_photographs(rows, pictured):
    measures = pictured[PASTED]
    assert measures["albedo_left_right"] == pytest.approx(measures["photograph_left_right"], rel=0.15)
    assert pictured[AVERAGE]["albedo_left_right"] < 1e-4
    assert pictured[OURS]["albedo_left_right"] < 0.5 * measures["albedo_left_right"]


def test_mirrored_avatars_are_mirrored_back(rows, head):
    ours = rows[0][OURS]
    flip = torch.tensor([-1.0, 1.0, 1.0])
    mirror = replace(
        ours,
        neutral_1v3=ours.neutral_1v3[:, torch.tensor(head.mirror_v)] * flip,
        maps=replace(ours.maps, diffuse=ours.maps.diffuse.flip(-1)),
    )
    found = on_portraits.drift_measures(ours, mirror, drifts.MIRRORED, ours)
    assert found["rephoto_mm_mirrored"] < 1e-3
    assert found["rephoto_delta_e_mirrored"] < 0.05
    assert np.isfinite(list(found.values())).all()
