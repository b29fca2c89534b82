import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from mosar.models.head import landmarks, load_head, sample_identity, shape, vertex_normals
from mosar.models.head.expression_model import expression_model
from mosar.models.head.head import MAKEHUMAN_PATH
from mosar.models.head.identity_sampling import SCANNED


def weights(head, expression=None, dtype=torch.float32):
    archetype = torch.full((1, len(head.archetype_names)), 1 / len(head.archetype_names), dtype=dtype)
    expression_e = torch.zeros(1, len(head.expression_names), dtype=dtype)
    for name, value in (expression or {}).items():
        expression_e[0, head.expression_names.index(name)] = value
    return archetype, torch.zeros(1, len(head.mode_names), dtype=dtype), expression_e


def person(head, seed, expression=None):
    identity = sample_identity(head, torch.Generator().manual_seed(seed))
    return shape(head, identity.archetype_a[None], identity.mode_m[None], weights(head, expression)[2])


def test_scanned_is_the_template_and_so_is_the_average_of_makehumans_archetypes(head):
    archetype, mode, expression = weights(head)
    archetype = torch.tensor([[float(name == SCANNED) for name in head.archetype_names]])
    np.testing.assert_allclose(shape(head, archetype, mode, expression)[0].numpy(), head.template_v3, atol=0.02)
    other = load_head(MAKEHUMAN_PATH)
    np.testing.assert_allclose(shape(other, *weights(other))[0].numpy(), other.template_v3, atol=0.02)


def test_the_archetypes_of_grown_people_average_to_the_template(head):
    grown = [name.endswith(("young", "old")) for name in head.archetype_names]
    assert np.abs(head.archetypes_av3[grown].mean(0)).max() < 0.02
    children = head.archetypes_av3[[name.endswith("child") for name in head.archetype_names]].mean(0)
    assert np.linalg.norm(children, axis=1)[head.region("face")].mean() > 2


def test_identity_is_linear(head):
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(3, len(head.archetype_names), generator=generator)
    m = torch.randn(3, len(head.mode_names), generator=generator)
    expected = (
        head.template_v3
        + np.einsum("ba,avx->bvx", a.numpy(), head.archetypes_av3)
        + np.einsum("bm,mvx->bvx", m.numpy(), head.modes_mv3)
    )
    found = shape(head, a, m, torch.zeros(3, len(head.expression_names)))
    np.testing.assert_allclose(found.numpy(), expected, atol=0.02)


def test_wrong_numbers_of_weights_are_refused(head):
    a, m, e = weights(head)
    with pytest.raises(ValueError, match=r"weights for \(archetypes, modes\)"):
        shape(head, a, m[:, 1:], e)


def test_gradients_of_all_weights(head):
    a, m, e = weights(head, {"jawOpen": 0.4, "eyeBlinkLeft": 0.3, "mouthFunnel": 0.2}, torch.float64)
    chosen = torch.arange(0, len(head.template_v3), 211)
    few = [x.clone() for x in (a, m, e)]

    def some(a3, m3, e3):
        aa, mm, ee = (torch.cat([part, whole[:, 3:]], 1) for part, whole in zip((a3, m3, e3), few, strict=True))
        return shape(head, aa, mm, ee)[:, chosen] / 100

    inputs = [(x[:, :3] + 0.05).requires_grad_() for x in few]
    assert gradcheck(some, inputs, eps=1e-5, atol=1e-5, fast_mode=True)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), weight=st.floats(0, 1))
def test_the_jaw_keeps_its_distance_from_the_hinge(head, seed, weight):
    """The vertices that move most stay closer to a circle about the hinge than the chord does."""
    b = expression_model(head, torch.device("cpu"), torch.float32)
    most = torch.from_numpy(np.linalg.norm(head.expressions_ev3[b.jaw], axis=-1) > 25)
    closed, half, opened = (person(head, seed, {"jawOpen": w})[0, most, 1:] - b.hinge_2 for w in (0.0, weight, 1.0))
    radius = closed.norm(dim=-1) * (1 - weight) + opened.norm(dim=-1) * weight
    chord = closed * (1 - weight) + opened * weight
    assert (half.norm(dim=-1) - radius).abs().max() < 0.6
    assert (half.norm(dim=-1) - radius).abs().max() <= (chord.norm(dim=-1) - radius).abs().max() + 1e-3


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1000), weight=st.floats(0, 1))
def test_lids_slide_over_eyeballs_that_keep_their_shape(head, seed, weight):
    moved = {"eyeBlinkLeft": weight, "eyeBlinkRight": 1 - weight, "eyeLookUpLeft": weight, "eyeLookInRight": weight}
    rest, posed = person(head, seed)[0], person(head, seed, moved)[0]
    for eye in expression_model(head, torch.device("cpu"), torch.float32).eyes:
        centres = [x[eye.ball_k].mean(0) for x in (rest, posed)]
        ball, posed_ball = ((x[eye.ball_k] - c).norm(dim=-1) for x, c in zip((rest, posed), centres, strict=True))
        lid, posed_lid = ((x[eye.lid_k] - c).norm(dim=-1) for x, c in zip((rest, posed), centres, strict=True))
        assert (ball - posed_ball).abs().max() < 0.3
        assert (posed_lid - torch.minimum(lid, ball.mean() + 0.4)).min() > -0.3


def test_expressions_grow_with_the_face(head):
    _, m, e = weights(head, {"mouthSmileLeft": 1.0})
    child = torch.tensor([[float(n.endswith("child")) for n in head.archetype_names]])
    grown = torch.tensor([[float(n == "caucasian-male-young") for n in head.archetype_names]])
    smile = [
        (shape(head, w / w.sum(), m, e) - shape(head, w / w.sum(), m, 0 * e)).norm(dim=-1).max() for w in (child, grown)
    ]
    assert smile[0] < 0.97 * smile[1]


def test_landmarks_lie_on_their_triangles(head):
    vertices = torch.cat([person(head, 1), person(head, 2, {"jawOpen": 1.0})])
    found = landmarks(head, vertices)
    assert found.shape == (2, 478, 3)
    for image in range(2):
        for point in range(0, 478, 7):
            triangle = head.landmark_triangle_l[point]
            expected = np.zeros(3)
            if triangle >= 0:
                corners = vertices[image].numpy()[head.triangles_f3[triangle]]
                expected = head.landmark_barycentric_l3[point] @ corners
            np.testing.assert_allclose(found[image, point].numpy(), expected, atol=1e-3)


def test_normals_are_unit_and_point_outwards(head):
    triangles = torch.from_numpy(np.array(head.triangles_f3))
    vertices = torch.from_numpy(np.array(head.template_v3))[None].double()
    normals = vertex_normals(vertices, triangles)
    assert torch.allclose(normals.norm(dim=-1), torch.ones(()).double(), atol=1e-6)
    v = 1234
    around = [t for t in head.triangles_f3.tolist() if v in t]
    corners = [vertices[0, t].numpy() for t in around]
    total = sum(np.cross(c[1] - c[0], c[2] - c[0]) for c in corners)
    np.testing.assert_allclose(normals[0, v].numpy(), total / np.linalg.norm(total), atol=1e-9)


def test_gradients_of_normals():
    generator = torch.Generator().manual_seed(0)
    vertices = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    triangles = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 1]])
    assert gradcheck(vertex_normals, (vertices, triangles))


def test_a_full_blink_closes_wide_and_narrow_eyes(head):
    """The rims, which are some millimetres apart at rest, meet in people whose eyes differ in height."""
    for eye in expression_model(head, torch.device("cpu"), torch.float32).eyes:

        def heights(blink, eye=eye):
            mesh = torch.cat([person(head, i, {"eyeBlinkLeft": blink, "eyeBlinkRight": blink}) for i in range(8)])
            upper, lower = mesh[:, eye.rim_2p].unbind(1)
            return (upper - lower)[..., 1].mean(1)

        assert heights(0.0).min() > 4
        assert heights(0.0).max() > 1.25 * heights(0.0).min()
        assert heights(1.0).abs().max() < 1.2
