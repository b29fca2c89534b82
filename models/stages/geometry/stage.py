"""Stage ``geometry``: trains one encoder on light-stage captures and on unlabelled photographs together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mosar.models.camera import Camera, transform_image
from mosar.models.colour import to_linear, to_srgb
from mosar.models.head import Head
from mosar.models.head.morph import landmarks, vertex_normals
from mosar.models.morphable import detector_error
from mosar.models.morphable.detector_error import missed, yaw_pitch
from mosar.models.morphable.network import Morphable
from mosar.models.precision import full_precision
from mosar.models.stages.geometry.camera_guess import guess
from mosar.models.stages.geometry.config import Config
from mosar.models.stages.geometry.mirror import Mirror, mirrored_points
from mosar.models.stages.geometry.network import (
    Geometry,
    Parameters,
    camera_of,
    image_position,
    rotation_of,
    turn_between,
)
from mosar.models.stages.geometry.points_network import Seen
from mosar.models.stages.geometry.render import SkinPicture, render_skin
from mosar.models.stages.spec import StreamSpec

Batch = Mapping[str, Mapping[str, Tensor]]
_BACK = 0.1  # added to the weight of every vertex (1 on the face, 0 off it, where a portrait shows little)
_JITTER = 0.004  # deviation of the noise added to the detector's points, as a share of the face's size
_MAP = 64  # texels a side of the maps that tell the reflectance
_SCORE_RIDGE = 10.0  # captures' worth of a prior that scores do not depend on the expression


@dataclass(frozen=True)
class Prediction:
    """Parameters, and what follows from them: the mesh (b, v, 3) in mm and the camera in pixels of the crop."""

    parameters: Parameters
    mesh_bv3: Tensor
    camera: Camera


@dataclass(frozen=True)
class Truth:
    """What a labelled sample tells of its parameters: codes, meshes (b, v, 3), light, rotation and position."""

    identity_bk: Tensor
    expression_bk: Tensor
    reflectance_bk: Tensor
    neutral_bv3: Tensor
    mesh_bv3: Tensor
    light_b81c: Tensor
    rotation_b33: Tensor
    image_position_b3: Tensor


class Stage:
    """A share of each batch is labelled (meshes, camera, light and maps are known), the rest are photographs.

    Labels supervise every parameter. Photographs are compared with their rendered skin, their detected points under the
    model of the detector's errors, and the detector's scores.
    """

    name = "geometry"
    requires = ("morphable",)

    def __init__(self, config: Config, head: Head) -> None:
        self.config = config
        self.head = head
        wild = ("image", "mask", "landmarks", "detected", "blendshapes", "found", "intrinsics")
        labelled = (*wild, "mesh", "neutral", "rotation", "translation", "light", "diffuse", "specular")
        self.streams = {
            "lightstage": StreamSpec(config.labelled, labelled, _MAP, config.crop_size, augment=True),
            "wild": StreamSpec(1.0 - config.labelled, wild, _MAP, config.crop_size, augment=True),
        }
        self._triangles = torch.tensor(head.triangles_f3)
        face_v = torch.from_numpy(head.region("skin") & ~head.region("scalp") & ~head.region("neck")).float()
        self._weight_v = (face_v + _BACK) / (face_v + _BACK).mean()
        self._mirror = Mirror(head, config.crop_size)

    def build(self, parents: Mapping[str, nn.Module]) -> Geometry:
        return Geometry(self.config, self.head, cast(Morphable, parents["morphable"]))

    @torch.no_grad()
    def fit_statistics(self, module: nn.Module, batches: Iterable[Batch]) -> None:
        module = cast(Geometry, module)
        samples = [batch["lightstage"] for batch in batches]
        sample = {name: torch.cat([s[name] for s in samples]) for name in samples[0] if name not in ("image", "mask")}
        truth, seen = self._truth(module, sample, sample["intrinsics"]), seen_in(sample, self.config.projected)
        module.mean_light_lc.copy_(truth.light_b81c.mean(dim=0))
        module.std_light_lc.copy_(truth.light_b81c.std(dim=0).clamp_min(1e-3))
        average = landmarks(self.head, torch.tensor(self.head.template_v3)[None].to(seen.points_bn3))[0]
        module.points.fit_statistics(seen, average)
        module.mirrored_n.copy_(mirrored_points(module.points.reference_n3))
        base = module.average(seen, self.config.crop_size)
        turn = turn_between(base.rotation_b33, truth.rotation_b33)
        pose_b6 = torch.cat([turn, truth.image_position_b3 - base.image_position_b3], dim=1)
        module.mean_pose_6.copy_(pose_b6.median(dim=0).values)
        module.std_pose_6.copy_((pose_b6 - module.mean_pose_6).abs().median(dim=0).values.mul(1.5).clamp_min(1e-3))
        found_b = sample["found"].flatten() > 0.5
        self._fit_error(module, sample, truth, found_b)
        codes = torch.cat([truth.expression_bk, torch.ones_like(truth.expression_bk[:, :1])], dim=1)[found_b].double()
        gram = codes.T @ codes + _SCORE_RIDGE * torch.eye(codes.shape[1], dtype=codes.dtype, device=codes.device)
        module.score_ke.copy_(torch.linalg.solve(gram, codes.T @ seen.scores_be[found_b].double()))

    def losses(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        return self._objective(cast(Geometry, module), batch, generator)[0]

    @torch.no_grad()
    def metrics(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        module = cast(Geometry, module)
        losses, found, truth = self._objective(module, batch, None)
        mesh, rotation = found.mesh_bv3, found.parameters.rotation_b33
        degrees = torch.rad2deg(turn_between(rotation, truth.rotation_b33).norm(dim=1))
        deviation = (truth.identity_bk - found.parameters.identity_bk).square()
        return losses | {
            "loss": torch.stack(list(losses.values())).sum(),
            "mesh_mm": (mesh - truth.mesh_bv3).norm(dim=-1).mean(),
            "rotation_degrees": degrees.mean(),
            "identity_left": deviation.sum() / truth.identity_bk.square().sum(),
            "calibration": (deviation * (-found.parameters.identity.log_variance_bk).exp()).mean(),
        }

    @torch.no_grad()
    def baseline(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        module = cast(Geometry, module)
        return torch.stack(list(self._objective(module, batch, None, average=True)[0].values())).sum()

    @torch.no_grad()
    def preview(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Crops above; below, the model's skin drawn over them; labelled left, wild right."""
        module = cast(Geometry, module)
        pictures = []
        for sample in batch.values():
            few = {name: value[:4] for name, value in sample.items()}
            found = self._follow(module, few, module(few["image"] / 255.0, seen_in(few))[0])
            render = self._render(module, found, self.config.crop_size)
            image = few["image"] / 255.0
            drawn = torch.where(render.mask_b1hw, to_srgb(render.colour_b3hw.clamp(0.0, 1.0)), image)
            pictures += [torch.cat(pair, dim=1) for pair in zip(image, drawn, strict=True)]
        return torch.cat(pictures, dim=2)

    def _objective(
        self, module: Geometry, batch: Batch, generator: torch.Generator | None, average: bool = False
    ) -> tuple[dict[str, Tensor], Prediction, Truth]:
        """Weighted losses, and the answer to the labelled stream with its truth.

        Args:
            generator: of the changes that training makes to samples; None: none, cameras are assumed.
            average: judge the answer that ignores the photograph.
        """
        labelled, wild = batch["lightstage"], batch["wild"]
        if generator is not None:
            labelled, wild = (self._changed(module, sample, generator) for sample in (labelled, wild))
        intrinsics = guess(labelled, self.config.crop_size, self.config.assumed, generator)
        truth = self._truth(module, labelled, intrinsics)
        labelled = {**labelled, "intrinsics": intrinsics}
        answers = []
        training = generator is not None  # held-out captures are judged as inference sees them
        for sample, projected in ((labelled, self.config.projected and training), (wild, False)):
            seen = self._noisy(seen_in(sample, projected), generator)
            if average:
                answers.append((module.average(seen, self.config.crop_size),) * 2)
            else:
                answers.append(module(sample["image"] / 255.0, seen))
        found, found_wild = (self._follow(module, s, a[0]) for s, a in zip((labelled, wild), answers, strict=True))
        losses = self._labelled_terms(module, found, truth) | self._wild_terms(module, wild, found_wild)
        told = answers[0][1]
        losses["points"] = self._code_terms(module, told, truth)
        return losses, found, truth

    def _code_terms(self, module: Geometry, found: Parameters, truth: Truth) -> Tensor:
        """Codes under their distributions, and the pose."""
        c = self.config
        codes = found.identity.surprise(truth.identity_bk).mean() / truth.identity_bk.shape[1]
        codes = codes + found.expression.surprise(truth.expression_bk).mean() / truth.expression_bk.shape[1]
        pose = module.pose_error(found, truth.rotation_b33, truth.image_position_b3)
        # Errors are far from normal: a few faces are detected badly.
        return c.code_weight * codes + c.pose_weight * ((1.0 + pose.square()).sqrt() - 1.0).mean()

    def _labelled_terms(self, module: Geometry, found: Prediction, truth: Truth) -> dict[str, Tensor]:
        c, parameters = self.config, found.parameters
        triangles = self._triangles.to(found.mesh_bv3.device)
        weight_v = self._weight_v.to(found.mesh_bv3.device)
        neutral = module.morphable.decode(
            parameters.identity_bk, module.morphable.neutral_code().expand(len(found.mesh_bv3), -1)
        )
        offset = (neutral - truth.neutral_bv3).abs() + (found.mesh_bv3 - truth.mesh_bv3).abs()
        normals, true_normals = (vertex_normals(m, triangles) for m in (found.mesh_bv3, truth.mesh_bv3))
        light = (parameters.light_b81c - truth.light_b81c) / module.std_light_lc
        reflectance = parameters.reflectance_bk - truth.reflectance_bk
        return {
            "codes": self._code_terms(module, parameters, truth),
            "vertices": 0.5 * c.vertex_weight * (weight_v * offset.mean(dim=-1)).mean(),
            "normals": c.normal_weight * (weight_v * (1.0 - (normals * true_normals).sum(dim=-1))).mean(),
            "light": c.light_weight * light.abs().mean(),
            "reflectance": c.reflectance_weight * (module.share_k * reflectance.square()).sum(dim=1).mean(),
        }

    def _wild_terms(self, module: Geometry, sample: Mapping[str, Tensor], found: Prediction) -> dict[str, Tensor]:
        """Losses that compare an answer with the photograph alone, and priors."""
        c, parameters = self.config, found.parameters
        count = len(found.mesh_bv3)
        points = landmarks(self.head, found.mesh_bv3)
        missing = missed(sample["detected"][..., :2], points, found.camera)[:, module.embedded_l]
        missing = missing - module.error.mean(*yaw_pitch(parameters.rotation_b33.detach()))
        energy = module.error.energy(missing) / missing[0].numel()
        render = self._render(module, found, c.render_size)
        size = (c.render_size, c.render_size)
        image = interpolate(sample["image"] / 255.0, size=size, mode="area")
        skin = interpolate((sample["mask"] > 0).float(), size=size, mode="area") > 0.75
        residual = (to_srgb(render.colour_b3hw.clamp_min(1e-4)) - image).abs().mean(dim=1, keepdim=True)
        seen = render.mask_b1hw & skin
        kept = [_least(residual[i][seen[i]], 1.0 - c.trim) for i in range(count)]
        scores = module.scores(parameters.expression_bk) - sample["blendshapes"]
        codes = torch.cat([parameters.identity_bk, parameters.expression_bk, parameters.reflectance_bk], dim=1)
        return {
            "photometric": c.photometric_weight * torch.stack(kept).mean(),
            "landmarks": c.landmark_weight * ((1.0 + energy).sqrt() - 1.0).mean(),
            "scores": c.score_weight * scores.abs().mean(),
            "negative_light": c.negative_weight * render.negative,
            "prior": c.prior_weight * codes.square().mean(),
        }

    def _truth(self, module: Geometry, sample: Mapping[str, Tensor], intrinsics_b33: Tensor) -> Truth:
        """The parameters of labelled samples as seen by a camera with these intrinsics, known or assumed."""
        model = module.morphable
        with torch.no_grad():
            (identity, _), (expression, _) = model.encode(sample["neutral"], sample["mesh"])
            maps = to_linear(sample["diffuse"] / 255.0), sample["specular"] / 255.0
            camera = _camera(sample)
            place = image_position(camera, self.config.crop_size)
            return Truth(
                identity,
                expression,
                model.reflectance_code(*maps),
                sample["neutral"],
                sample["mesh"],
                sample["light"],
                _toward(sample, intrinsics_b33, place, self.config.crop_size),
                place,
            )

    def _fit_error(self, module: Geometry, sample: Mapping[str, Tensor], truth: Truth, found_b: Tensor) -> None:
        """Set the model of the detector's errors: the shipped one, or for another head one of these samples."""
        if (known := detector_error.shipped(self.head)) is not None:
            module.error.load_state_dict(known)
            return
        points = landmarks(self.head, truth.mesh_bv3)
        error = missed(sample["detected"][..., :2], points, _camera(sample))[:, module.embedded_l]
        good_b = found_b & (error.norm(dim=-1).median(dim=1).values < detector_error.FAR_MM)
        yaw, pitch = yaw_pitch(truth.rotation_b33)
        module.error.fit(error[good_b], yaw[good_b], pitch[good_b])

    def _changed(
        self, module: Geometry, sample: Mapping[str, Tensor], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """The sample with half of its rows mirrored."""
        chosen = torch.rand(len(sample["image"]), generator=generator, device=generator.device) < 0.5
        return self._mirror(sample, module.mirrored_n, chosen.to(sample["image"].device))

    @staticmethod
    def _noisy(seen: Seen, generator: torch.Generator | None) -> Seen:
        """With a generator, points get the noise of training."""
        if generator is None:
            return seen
        size = (seen.points_bn3.amax(dim=1) - seen.points_bn3.amin(dim=1))[:, :2].amax(dim=1)
        noise = torch.randn(seen.points_bn3.shape, generator=generator, device=generator.device).to(size)
        return Seen(seen.points_bn3 + _JITTER * size[:, None, None] * noise, seen.scores_be, seen.intrinsics_b33)

    def _follow(self, module: Geometry, sample: Mapping[str, Tensor], parameters: Parameters) -> Prediction:
        """The mesh and the camera that follow from parameters."""
        mesh = module.morphable.decode(parameters.identity_bk, parameters.expression_bk)
        rotation, place = parameters.rotation_b33, parameters.image_position_b3
        return Prediction(parameters, mesh, camera_of(rotation, place, sample["intrinsics"], self.config.crop_size))

    def _render(self, module: Geometry, found: Prediction, size: int) -> SkinPicture:
        """The predicted skin under the predicted light, as the crop shows it, at ``size`` x ``size`` pixels."""
        diffuse, specular = module.morphable.reflectance(found.parameters.reflectance_bk)
        scale = torch.eye(3, device=diffuse.device)
        scale[:2] *= size / self.config.crop_size
        camera = transform_image(found.camera, scale.expand(len(diffuse), 3, 3))
        return render_skin(self.head, found.mesh_bv3, diffuse, specular, found.parameters.light_b81c, camera, size)


def seen_in(sample: Mapping[str, Tensor], projected: bool = False) -> Seen:
    """What the detector saw; the true points, without depth, of the few captures in which it found no face.

    Args:
        projected: take the true positions, with the detector's depth, of the points that the head has.
    """
    found = sample["found"].reshape(-1, 1, 1) > 0.5
    detected, true = sample["detected"], sample["landmarks"][..., :2]
    if projected:
        has = sample["landmarks"][..., 2:] > 0  # other rows are zero
        detected = torch.cat([torch.where(has, true, detected[..., :2]), detected[..., 2:]], dim=2)
    points = torch.where(found, detected, torch.cat([true, torch.zeros_like(true[..., :1])], dim=2))
    return Seen(points, sample["blendshapes"], sample["intrinsics"])


def _camera(sample: Mapping[str, Tensor]) -> Camera:
    return Camera(sample["intrinsics"], sample["rotation"], sample["translation"])


@full_precision
def _toward(sample: Mapping[str, Tensor], assumed_b33: Tensor, place_b3: Tensor, crop_size: int) -> Tensor:
    """The head's rotation (b, 3, 3) that looks the same if other intrinsics are assumed: turned along with its ray."""
    true_b33 = sample["intrinsics"]
    pixel = torch.cat([(place_b3[:, :2] + 0.5) * crop_size, torch.ones_like(place_b3[:, :1])], dim=1)[..., None]
    old, new = (nn.functional.normalize(torch.linalg.solve(k, pixel)[..., 0], dim=1) for k in (true_b33, assumed_b33))
    axis = torch.linalg.cross(old, new)
    sine = axis.norm(dim=1, keepdim=True)
    angle = torch.atan2(sine, (old * new).sum(dim=1, keepdim=True))
    return rotation_of(axis * angle / sine.clamp_min(1e-9)) @ sample["rotation"]


def _least(values_n: Tensor, share: float) -> Tensor:
    """Sum of the smallest share of the values, over their number; 0 of none."""
    kept = values_n.sort().values[: round(share * len(values_n))]
    return kept.sum() / max(len(kept), 1)
