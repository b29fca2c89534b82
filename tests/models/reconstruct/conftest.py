"""What several tests of reconstruction need: an untrained encoder, avatars of plain skin, and portraits of them."""

from collections.abc import Callable

import pytest
import torch

from mosar.avatar import Avatar, encode
from mosar.avatar.render import render
from mosar.jobs.evaluation.segmentation.outline import landmark_classes
from mosar.models.camera import project
from mosar.models.head import load_head
from mosar.models.head.morph import landmarks
from mosar.models.morphable import pretrained
from mosar.models.preview import frontal_camera
from mosar.models.reconstruct.cues import thumbnail
from mosar.models.reconstruct.estimate import Maps, Portrait
from mosar.models.stages import geometry
from mosar.models.stages.geometry.network import Geometry

CROP = 256


@pytest.fixture(scope="session")
def module() -> Geometry:
    """The shipped morphable model in an untrained encoder, whose errors of landmarks are one mm."""
    torch.manual_seed(0)
    config = geometry.Config(width=8, blocks=(1, 1, 1, 1), crop_size=64)
    return Geometry(config, load_head(), pretrained.load(load_head())).eval()


@pytest.fixture(scope="session")
def avatar_of() -> Callable[..., Avatar]:
    """An avatar (mesh (1, v, 3), albedo (1, 3, s, s), specular value, light) seen from the front, 256 pixels a side."""

    def make(mesh: torch.Tensor, diffuse: torch.Tensor, specular: float, light: torch.Tensor) -> Avatar:
        head, one = load_head(), torch.ones_like(diffuse[:, :1])
        maps = Maps(diffuse, specular * one, one, 0 * one, torch.cat([0 * one, 0 * one, one], 1), one)
        camera = frontal_camera(1, CROP, torch.device("cpu"), head_height_mm=260.0)
        return Avatar(
            head=head, vertices_1v3=mesh, neutral_1v3=mesh, maps=maps, eyes_hw3=head.eyes_albedo_hw3,
            mouth_hw3=head.mouth_albedo_hw3, tone={}, camera=camera, light_1lc=light, expression={}, width=CROP,
            height=CROP, bundle_digest="", timings_s={},
        )  # fmt: skip

    return make


@pytest.fixture(scope="session")
def portrait_of() -> Callable[..., Portrait]:
    """A picture of an avatar, ``gain`` times as bright, with its own landmarks and classes by them."""

    def make(avatar: Avatar, gain: float = 1.0) -> Portrait:
        pixels = encode.srgb8(gain * render(avatar, avatar.camera, (CROP, CROP)).colour_13hw)
        points = project(avatar.camera, landmarks(avatar.head, avatar.vertices_1v3))
        return Portrait(
            photograph_hw3=torch.from_numpy(pixels.copy()),
            thumbnail_13tt=thumbnail(torch.from_numpy(pixels.copy()), 64),
            inside_11hw=torch.ones(1, 1, CROP, CROP),
            crop_13hw=torch.from_numpy(pixels / 255.0).float().permute(2, 0, 1)[None],
            classes_1khw=torch.from_numpy(landmark_classes(pixels, points[0].numpy()))[None],
            points_1n3=torch.cat([points, torch.zeros_like(points[..., :1])], dim=2),
            scores_1e=torch.zeros(1, 52),
            intrinsics_133=avatar.camera.intrinsics_b33,
            to_crop_133=torch.eye(3)[None],
            width=CROP,
            height=CROP,
        )

    return make
