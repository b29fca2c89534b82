"""Stage ``geometry``: trains one encoder on light-stage captures and on unlabelled photographs together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from mosar.models.camera import Camera, project, transform_image
from mosar.models.colour import to_srgb
from mosar.models.head import Head
from mosar.models.head.morph import landmarks, vertex_normals
from mosar.models.mesh_laplacian import SparseLinear, adjacency, scaled_laplacian
from mosar.models.morphable.network import Morphable
from mosar.models.stages.geometry.config import Config
from mosar.models.stages.geometry.network import Geometry, Parameters, camera_of, image_position
from mosar.models.stages.geometry.render import SkinPicture, render_skin
from mosar.models.stages.spec import StreamSpec

Batch = Mapping[str, Mapping[str, Tensor]]
_LANDMARK_PIXELS = 224.0  # the crop size to which the landmark weight refers
_BACK = 0.1  # added to the weight of every vertex (1 on the face, 0 off it, where a portrait shows little)
_JITTER = 0.003  # deviation of the noise added to the detector's points, as a share of the crop's side


@dataclass(frozen=True)
class Prediction:
    """Parameters, and what follows from them: the mesh (b, v, 3) in mm and the camera in pixels of the crop."""

    parameters: Parameters
    mesh_bv3: Tensor
    camera: Camera


class Stage:
    """A share of each batch is labelled (mesh, camera and light are known), the rest are photographs."""

    name = "geometry"
    requires = ("morphable",)

    def __init__(self, config: Config, head: Head) -> None:
        self.config = config
        self.head = head
        wild = ("image", "mask", "landmarks", "intrinsics")
        labelled = (*wild, "mesh", "rotation", "translation", "light")
        self.streams = {
            "lightstage": StreamSpec(config.labelled, labelled, crop_size=config.crop_size, augment=True),
            "wild": StreamSpec(1.0 - config.labelled, wild, crop_size=config.crop_size, augment=True),
        }
        self._triangles = torch.tensor(head.triangles_f3)
        self._weight_l = torch.from_numpy(head.landmark_weight_l * (head.landmark_triangle_l >= 0)).float()
        face_v = torch.from_numpy(head.region("skin") & ~head.region("scalp") & ~head.region("neck")).float()
        self._weight_v = (face_v + _BACK) / (face_v + _BACK).mean()
        self._laplacian = SparseLinear(scaled_laplacian(adjacency(head.triangles_f3, len(head.template_v3))))

    def build(self, parents: Mapping[str, nn.Module]) -> Geometry:
        return Geometry(self.config, self.head, cast(Morphable, parents["morphable"]))

    @torch.no_grad()
    def fit_statistics(self, module: nn.Module, batches: Iterable[Batch]) -> None:
        module = cast(Geometry, module)
        samples = [batch["lightstage"] for batch in batches]
        light = torch.cat([s["light"] for s in samples])
        place = torch.cat([image_position(_camera(s), self.config.crop_size) for s in samples])
        points = torch.cat([s["landmarks"][..., :2] for s in samples]) / self.config.crop_size
        module.mean_points_n2.copy_(points.mean(dim=0))
        module.std_points.copy_(points.std(dim=0)[module.embedded_l].mean().clamp_min(1e-3))
        module.mean_light_lc.copy_(light.mean(dim=0))
        module.std_light_lc.copy_(light.std(dim=0).clamp_min(1e-3))
        module.mean_image_position.copy_(place.mean(dim=0))
        module.std_image_position.copy_(place.std(dim=0).clamp_min(1e-3))

    def losses(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        module = cast(Geometry, module)
        found = {name: self._explain(module, sample, generator) for name, sample in batch.items()}
        losses = self._objective(module, batch, found)
        every = [e.parameters for e in found.values()]
        codes = torch.cat([torch.cat([p.identity_bk, p.expression_bk, p.reflectance_bk], dim=1) for p in every])
        return losses | {"codes": self.config.code_weight * codes.square().sum(dim=1).mean()}

    @torch.no_grad()
    def metrics(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        module = cast(Geometry, module)
        found = {name: self._explain(module, sample) for name, sample in batch.items()}
        losses = self._objective(module, batch, found)
        truth, labelled = batch["lightstage"], found["lightstage"]
        cosine = ((labelled.parameters.rotation_b33 * truth["rotation"]).sum(dim=(1, 2)) - 1.0) / 2.0
        return losses | {
            "loss": torch.stack(list(losses.values())).sum(),
            "mesh_mm": (labelled.mesh_bv3 - truth["mesh"]).norm(dim=-1).mean(),
            "rotation_degrees": torch.rad2deg(cosine.clamp(-1.0, 1.0).acos()).mean(),
        }

    @torch.no_grad()
    def baseline(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        module = cast(Geometry, module)
        average = {n: self._follow(module, s, module.average(len(s["image"]))) for n, s in batch.items()}
        return torch.stack(list(self._objective(module, batch, average).values())).sum()

    @torch.no_grad()
    def preview(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Crops above; below, the model's skin drawn over them; labelled left, wild right."""
        module = cast(Geometry, module)
        pictures = []
        for sample in batch.values():
            few = {name: value[:4] for name, value in sample.items()}
            render = self._render(module, self._explain(module, few), self.config.crop_size)
            image = few["image"] / 255.0
            drawn = torch.where(render.mask_b1hw, to_srgb(render.colour_b3hw.clamp(0.0, 1.0)), image)
            pictures += [torch.cat(pair, dim=1) for pair in zip(image, drawn, strict=True)]
        return torch.cat(pictures, dim=2)

    def _explain(
        self, module: Geometry, sample: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> Prediction:
        """Predict from a sample's image and landmarks; with ``generator``, landmarks get the noise of training."""
        points = sample["landmarks"][..., :2] / self.config.crop_size
        if generator is not None:
            points = points + _JITTER * torch.randn(points.shape, generator=generator, device=points.device)
        return self._follow(module, sample, module(sample["image"] / 255.0, points))

    def _follow(self, module: Geometry, sample: Mapping[str, Tensor], parameters: Parameters) -> Prediction:
        """The mesh and the camera that follow from parameters."""
        mesh = module.morphable.decode(parameters.identity_bk, parameters.expression_bk)
        rotation, place = parameters.rotation_b33, parameters.image_position_b3
        return Prediction(parameters, mesh, camera_of(rotation, place, sample["intrinsics"], self.config.crop_size))

    def _objective(self, module: Geometry, batch: Batch, found: Mapping[str, Prediction]) -> dict[str, Tensor]:
        """Weighted losses, averaged over the streams; losses that need the truth come from the labelled stream only."""
        c = self.config
        every = [self._unlabelled_terms(module, sample, found[name]) for name, sample in batch.items()]
        losses = {key: torch.stack([terms[key] for terms in every]).mean() for key in every[0]}
        truth, labelled = batch["lightstage"], found["lightstage"]
        triangles = self._triangles.to(labelled.mesh_bv3.device)
        normals, true_normals = (vertex_normals(m, triangles) for m in (labelled.mesh_bv3, truth["mesh"]))
        turn = labelled.parameters.rotation_b33 - truth["rotation"]
        offset = (labelled.mesh_bv3 - truth["mesh"]).abs().mean(dim=-1)
        light_error = (labelled.parameters.light_b81c - truth["light"]) / module.std_light_lc
        return losses | {
            "vertices": c.vertex_weight * (self._weight_v.to(offset.device) * offset).mean(),
            "normals": c.normal_weight * (1.0 - (normals * true_normals).sum(dim=-1)).mean(),
            "rotation": c.rotation_weight * turn.square().sum(dim=(1, 2)).mean(),
            "light": c.light_weight * light_error.abs().mean(),
        }

    def _unlabelled_terms(self, module: Geometry, sample: Mapping[str, Tensor], found: Prediction) -> dict[str, Tensor]:
        """Weighted losses that compare a prediction with the photograph alone, and priors."""
        c = self.config
        points = project(found.camera, landmarks(self.head, found.mesh_bv3))
        error = ((points - sample["landmarks"][..., :2]) / c.crop_size * _LANDMARK_PIXELS).square().sum(dim=-1)
        weight = self._weight_l.to(error.device) * (sample["landmarks"][..., 2] > 0)

        render = self._render(module, found, c.render_size)
        size = (c.render_size, c.render_size)
        image = interpolate(sample["image"] / 255.0, size=size, mode="area")
        skin = interpolate((sample["mask"] > 0).float(), size=size, mode="area") > 0.75
        residual = (to_srgb(render.colour_b3hw.clamp_min(1e-4)) - image).abs().mean(dim=1, keepdim=True)
        residual = residual[render.mask_b1hw & skin].sort().values
        kept = residual[: round((1.0 - c.trim) * len(residual))]
        offset = found.mesh_bv3 - module.morphable.mean_neutral_v3
        bend = offset + self._laplacian.to(offset.device)(offset)  # the unscaled Laplacian is I + the scaled one
        return {
            "photometric": c.photometric_weight * kept.sum() / max(len(kept), 1),
            "landmarks": c.landmark_weight * (weight * error).sum() / weight.sum().clamp_min(1.0),
            "laplacian": c.laplacian_weight * bend.square().mean(),
            "negative_light": c.negative_weight * render.negative,
        }

    def _render(self, module: Geometry, found: Prediction, size: int) -> SkinPicture:
        """The predicted skin under the predicted light, as the crop shows it, at ``size`` x ``size`` pixels."""
        diffuse, specular = module.morphable.reflectance(found.parameters.reflectance_bk)
        scale = torch.eye(3, device=diffuse.device)
        scale[:2] *= size / self.config.crop_size
        camera = transform_image(found.camera, scale.expand(len(diffuse), 3, 3))
        return render_skin(self.head, found.mesh_bv3, diffuse, specular, found.parameters.light_b81c, camera, size)


def _camera(sample: Mapping[str, Tensor]) -> Camera:
    return Camera(sample["intrinsics"], sample["rotation"], sample["translation"])
