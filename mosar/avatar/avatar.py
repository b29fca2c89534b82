"""The result of a reconstruction: a head that can be relit, rendered from any view, saved and opened again."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mosar.avatar.encode import quantized
from mosar.avatar.lighting import LightLike, light_sh
from mosar.errors import ConfigError
from mosar.models.camera import Camera, project, transform_image
from mosar.models.head import Head
from mosar.models.head.morph import landmarks
from mosar.models.reconstruct.estimate import Estimate, Maps

if TYPE_CHECKING:
    from mosar.avatar.morph_targets import TargetSet


@dataclass(frozen=True, eq=False)
class Avatar:
    """A relightable head in the head frame. Batches have size one, lengths are in mm, colours are linear RGB.

    Attributes:
        head: topology, chart, expressions and fixed maps of eyes and mouth.
        vertices_1v3: with the photograph's expression, in the head file's vertex order.
        neutral_1v3: the same person without the expression, in the same order.
        maps: texture maps of the skin, quantised to the 8 and 16 bits of their files.
        eyes_hw3, mouth_hw3: albedo of eyes, teeth and tongue, uint8 sRGB.
        tone: posterior of the albedo of the facial skin, luminance (linear): ``albedo``, and ``low`` and ``high``, the
            ends of the interval that holds 80 % of the probability.
        camera: of the whole photograph, OpenCV, pixels.
        light_1lc: nine SH bands of the light for rendering; initially the photograph's.
        expression: weight of each named blendshape, in [0, 1].
        width, height: of the photograph, pixels.
        photograph_hw3: the photograph, sRGB; None in an opened avatar, whose files do not hold it.
        bundle_digest: of the bundle that reconstructed it.
        timings_s: seconds that each step took; empty in an opened avatar.
        remarks: sentences on what of the photograph was ignored or assumed.
        made_from: digest of the photograph's file and settings, as ``mosar reconstruct`` records them to know an avatar
            that it need not make again; empty in other avatars.
    """

    head: Head
    vertices_1v3: Tensor
    neutral_1v3: Tensor
    maps: Maps
    eyes_hw3: npt.NDArray[np.uint8]
    mouth_hw3: npt.NDArray[np.uint8]
    tone: Mapping[str, float]
    camera: Camera
    light_1lc: Tensor
    expression: Mapping[str, float]
    width: int
    height: int
    bundle_digest: str
    timings_s: Mapping[str, float]
    photograph_hw3: npt.NDArray[np.uint8] | None = None
    remarks: tuple[str, ...] = ()
    made_from: Mapping[str, Any] = field(default_factory=dict)

    @staticmethod
    def of(estimate: Estimate, photograph_hw3: npt.NDArray[np.uint8], bundle_digest: str) -> "Avatar":
        """The avatar of a photograph whose reconstruction is complete."""
        fit = estimate.fit
        return Avatar(
            estimate.head,
            fit.mesh_1v3,
            fit.neutral_1v3,
            quantized(estimate.maps),
            estimate.eyes_hw3,
            estimate.mouth_hw3,
            {"albedo": estimate.tone.luminance, "low": estimate.tone.low, "high": estimate.tone.high},
            transform_image(fit.camera, torch.linalg.inv(estimate.portrait.to_crop_133)),
            estimate.light_1lc,
            estimate.expression,
            estimate.portrait.width,
            estimate.portrait.height,
            bundle_digest,
            estimate.timings_s,
            photograph_hw3,
        )

    def landmarks_px(self) -> Tensor:
        """The detector's points on the mesh, pixels of the photograph (478, 2); NaN where the head lacks the point."""
        points = project(self.camera, landmarks(self.head, self.vertices_1v3))[0]
        embedded = torch.from_numpy(self.head.landmark_triangle_l >= 0).to(points.device)[:, None]
        return torch.where(embedded, points, torch.full_like(points, torch.nan))

    def relight(self, light: LightLike, exposure: float = 0.0) -> "Avatar":
        """The same head under another light.

        Args:
            light: name of a built-in environment (``"studio"``), path of an equirectangular ``.exr`` or ``.hdr``
                file, azimuth (to the subject's left) and elevation of a lamp in degrees, or 81 x 3 SH coefficients.
            exposure: in stops: 1 doubles the light, -1 halves it. Environments have a mean luminance of one; the lamp
                gives a surface that faces it the irradiance 2.5 (under pi it would show its albedo).

        Raises:
            ConfigError: the light does not exist, an angle is out of range, coefficients have another shape or are not
                finite, or the exposure is not between -10 and 10.
            DataError: the file is not an environment map.
        """
        if not abs(exposure) <= 10.0:
            raise ConfigError(f"exposure: got {exposure:g}, expected stops from -10 to 10")
        light_1lc = torch.as_tensor(light_sh(light)).to(self.light_1lc)[None] * 2.0**exposure
        return replace(self, light_1lc=light_1lc, made_from={})

    def render(self, camera: Camera | None = None, size: tuple[int, int] | None = None) -> npt.NDArray[np.uint8]:
        """Render a picture (height, width, 4), uint8: sRGB, not premultiplied, and coverage.

        Args:
            camera: OpenCV, pixels and mm; by default the photograph's.
            size: height and width in pixels; by default the photograph's.
        """
        from mosar.avatar.full_size import coloured

        return coloured(self, camera or self.camera, size or (self.height, self.width))

    def turntable(self, path: str | Path, size: int = 384, seconds: float = 8.0, rate: int = 15) -> None:
        """Write an animation under the avatar's light: the head turns once, then the light goes round it once.

        Args:
            path: ends in ``.gif`` or ``.webm`` (VP8); written whole or not at all.
            size: side of the square pictures, pixels; an even number from 64 to 1024.
            seconds: length, 1 to 30.
            rate: pictures per second, 1 to 30.

        Raises:
            ConfigError: a value is out of range, the path has another ending, or it cannot be written.
            RunError: OpenCV on this machine cannot write WebM.
        """
        from mosar import animation
        from mosar.avatar.turntable import pictures
        from mosar.platform.storage import check_writable, replace_file
        from mosar.turntable_plan import TurntablePlan

        place, plan = Path(path), TurntablePlan(size, seconds, rate)
        ending = animation.check_ending(place)
        check_writable(place)
        replace_file(place, animation.encode(pictures(self, plan.views, size), ending, rate))

    def files(self, names: Collection[str] | None = None, targets: "TargetSet" = "arkit") -> dict[str, bytes]:
        """Files of the avatar by their relative paths; docs/avatar.md defines them.

        Args:
            names: those to make; all if None.
            targets: morph targets of the GLB file: ``"arkit"``, or ``"talking"`` with aliases for talking heads.
        """
        from mosar.avatar.files import encode_files

        return encode_files(self, names, targets)

    def save(self, folder: str | Path, targets: "TargetSet" = "arkit") -> None:
        """Write all :meth:`files` into a folder, which is made if needed; an older avatar there is replaced whole.

        Other files in the folder stay.

        Raises:
            ConfigError: the folder cannot be written to, or there is no such set of targets.
        """
        from mosar.platform.storage import replace_folder

        replace_folder(Path(folder), self.files(targets=targets))

    def facts(self) -> dict[str, Any]:
        """The content of ``avatar.json``."""
        from mosar.avatar.files import describe

        return describe(self)
