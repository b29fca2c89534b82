"""From one photograph with its landmarks to an avatar: the trained stages, one after the other."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from mosar.avatar import Avatar, Maps
from mosar.models.camera import project, transform_image, views
from mosar.models.colour import to_linear
from mosar.models.head import Head
from mosar.models.head.morph import landmarks
from mosar.models.reconstruct.blendshapes import expression_weights
from mosar.models.reconstruct.light_estimation import brightness, solve_light
from mosar.models.reconstruct.refine import Fit, refine
from mosar.models.shading import Material
from mosar.models.texture_space import fill, shading
from mosar.models.texture_space.fill import pull_push
from mosar.models.uv import Surface, chart, surface, to_world, unwrap

STAGES = ("morphable", "geometry", "completion", "delight", "intrinsics", "normals")
"""The modules that :class:`Reconstructor` runs."""
_RIM = 0.02  # of the chart's side: how far the dark of eye sockets and mouth reaches onto the lids and lips


@dataclass(frozen=True)
class Portrait:
    """What is known of a photograph before the reconstruction.

    Attributes:
        crop_13hw: the face crop, sRGB-encoded in [0, 1], ``Reconstructor.crop_size`` pixels a side.
        skin_11hw: bool, where the crop shows bare facial skin.
        landmarks_1n2: the detector's points, pixels of the crop.
        intrinsics_133: of the crop, pixels.
        to_crop_133: affine map from pixels of the photograph to those of the crop.
        width, height: of the photograph, pixels.
    """

    crop_13hw: Tensor
    skin_11hw: Tensor
    landmarks_1n2: Tensor
    intrinsics_133: Tensor
    to_crop_133: Tensor
    width: int
    height: int


class Reconstructor:
    """The trained modules of a bundle, run one after the other.

    Args:
        head: the head that they were trained on.
        modules: stage name -> module, in evaluation mode; all of :data:`STAGES`.
        refine_steps: optimiser steps on the landmarks; 0 leaves the encoder's answer.
    """

    def __init__(self, head: Head, modules: Mapping[str, Any], refine_steps: int = 80) -> None:
        missing = [name for name in STAGES if name not in modules]
        if missing:
            raise ValueError(f"modules lack {', '.join(missing)}; expected {', '.join(STAGES)}")
        self.head = head
        self.refine_steps = refine_steps
        self._modules = modules
        self.map_size = int(self._modules["intrinsics"].mean_diffuse_13hw.shape[-1])
        # Twice the chart's resolution: the face fills about half of the crop.
        self.crop_size = max(256, 2 * self.map_size)

    def __call__(self, portrait: Portrait) -> Avatar:
        """Reconstruct; the photograph is not looked at outside the crop."""
        timings: dict[str, float] = {}
        with _timed(timings, "geometry"):
            fit = self._fit(portrait)
        with torch.no_grad():
            with _timed(timings, "completion"):
                skin = surface(chart(self.head, self.map_size), self.head, fit.mesh_1v3)
                seen, known = self._unwrap(portrait, fit)
                shade = shading(fit.parameters.light_b81c, skin.normal_b3hw)
                texture = self._modules["completion"](seen, known, shade)
                mirrored = fill(seen, known).mirrored_b1hw
                confidence = torch.where(known > 0.5, known, 0.5 * (mirrored > 0.5))
            with _timed(timings, "delight"):
                even = self._modules["delight"](texture, shade)
            with _timed(timings, "intrinsics"):
                parts = self._modules["intrinsics"](even)
            with _timed(timings, "normals"):
                normal = self._modules["normals"](even)
            maps = Maps(
                diffuse=self._spread(parts.diffuse_b3hw),
                specular=self._spread(parts.specular_b1hw),
                ao=self._spread(parts.ao_b1hw),
                translucency=self._spread(parts.translucency_b1hw),
                normal=self._spread(normal),
                confidence=confidence,
            )
            with _timed(timings, "light"):
                maps, light = self._light(maps, skin, fit, seen, known)
            with _timed(timings, "expression"):
                expression = expression_weights(self.head, fit.mesh_1v3, fit.neutral_1v3)
            camera = transform_image(fit.camera, torch.linalg.inv(portrait.to_crop_133))
            points = project(camera, landmarks(self.head, fit.mesh_1v3))[0]
            embedded = torch.from_numpy(self.head.landmark_triangle_l >= 0).to(points.device)[:, None]
            points = torch.where(embedded, points, torch.full_like(points, torch.nan))
        timings["total"] = sum(timings.values())
        size = portrait.width, portrait.height
        return Avatar(fit.mesh_1v3, fit.neutral_1v3, maps, camera, light, expression, points, *size, timings)

    def _fit(self, portrait: Portrait) -> Fit:
        """The encoder's answer, refined on the landmarks."""
        geometry = self._modules["geometry"]
        size = geometry.config.crop_size
        with torch.no_grad():
            image = interpolate(portrait.crop_13hw, size=(size, size), mode="area")
            start = geometry(image, portrait.landmarks_1n2 / self.crop_size)
        points, intrinsics = portrait.landmarks_1n2, portrait.intrinsics_133
        return refine(self.head, geometry.morphable, start, points, intrinsics, self.crop_size, self.refine_steps)

    def _unwrap(self, portrait: Portrait, fit: Fit) -> tuple[Tensor, Tensor]:
        """The photograph's skin on the chart (1, 3, s, s), linear, and where it is known (1, 1, s, s)."""
        picture = torch.cat([to_linear(portrait.crop_13hw), portrait.skin_11hw.float()], dim=1)
        texture, visible = unwrap(picture, self.head, fit.mesh_1v3, fit.camera, self.map_size)
        known = (visible.float() > 0.5) & (texture[:, 3:] > 0.99)
        return texture[:, :3] * known, known.float()

    def _spread(self, map_bchw: Tensor) -> Tensor:
        """A map continued beyond the skin that light reaches: nothing is learnt of what lies inside eyes and mouth."""
        triangle_hw = chart(self.head, self.map_size).triangle_hw.to(map_bchw.device)
        hidden_f = torch.from_numpy(self.head.region("interior")[self.head.triangles_f3].any(axis=1))
        hidden_hw = (triangle_hw < 0) | hidden_f.to(map_bchw.device)[triangle_hw.clamp_min(0)]
        reach = 2 * max(1, round(_RIM * self.map_size)) + 1
        hidden = max_pool2d(hidden_hw.to(map_bchw)[None, None], reach, stride=1, padding=reach // 2)
        inside = 1.0 - hidden
        return pull_push(map_bchw * inside, inside)

    def _light(self, maps: Maps, skin: Surface, fit: Fit, seen: Tensor, known: Tensor) -> tuple[Maps, Tensor]:
        """The encoder's light, brought to the one that best explains the seen texels, and the albedo to its scale."""
        at, light = known[0, 0] > 0.5, fit.parameters.light_b81c
        if int(at.sum()) < 100:
            return maps, light
        normals = to_world(skin, maps.normal)[:, :, at].mT
        towards = views(fit.camera, skin.position_b3hw[:, :, at].mT)
        colours = seen[:, :, at].mT

        def material() -> Material:
            return Material(*(m[:, :, at].mT for m in (maps.diffuse, maps.specular, maps.ao, maps.translucency)))

        scale = brightness(material(), normals, towards, colours, light)
        maps = replace(maps, diffuse=(scale * maps.diffuse).clamp(0.0, 1.0))
        return maps, solve_light(material(), normals, towards, colours, light)


@contextmanager
def _timed(timings: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timings[name] = time.perf_counter() - start
