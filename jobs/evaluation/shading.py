"""Compare our shading with brute-force integration and with Mitsuba's path tracing, under all lights.

Images are compared sRGB-encoded and clipped, inside the mask of fully covered pixels; one exposure per light brings
the mean linear value of the reference to 0.4. The reference uses the unfiltered maps, with cast shadows and indirect
light; ours uses nine bands, and ambient occlusion from ray casting. A PSNR covers the four views of a light together;
PSNRs are then averaged over the lights.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trimesh
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn.functional import avg_pool2d, normalize

from mosar.datasets import lights, path_tracer
from mosar.datasets.exr import read_exr
from mosar.datasets.png import png
from mosar.errors import ConfigError
from mosar.models.camera import Camera, position
from mosar.models.colour import to_srgb
from mosar.models.directions import on_hemisphere, on_sphere
from mosar.models.head import load_head, vertex_normals
from mosar.models.rasterizer import covered, gather, rasterize, scatter
from mosar.models.shading import SHARPNESS, Material, irradiance, sh, shade
from mosar.platform import storage

SPECULAR = 0.35
SKIN = (0.406, 0.228, 0.157)
"""Median albedo of measured faces, linear sRGB."""

_ALPHA = 1 / math.sqrt(2 * SHARPNESS + 1)  # GGX roughness as wide as the Phong lobe
_VIEWS = ((0.0, 0.0), (45.0, 5.0), (-45.0, -5.0), (0.0, 35.0))  # azimuth to the subject's left and elevation, degrees
_DISTANCE = 1000.0


@dataclass(frozen=True)
class Config:
    """Attributes:

    environments: folder of ``*.exr`` maps; by default the committed ones, 256 x 128.
    size: side of the head's images, pixels; the sphere's images have half of it.
    samples: samples of the path tracer per pixel of the head; the sphere uses eight times as many, because its closer
        comparison tolerates less noise.
    storage: root below which ``evaluations/shading.png`` is written; default: MOSAR_STORAGE, else ~/.mosar.
    """

    environments: str | None = None
    size: int = 128
    samples: int = 64
    storage: str | None = None

    def __post_init__(self) -> None:
        if self.size < 16 or self.size % 2 or self.samples < 1:
            raise ConfigError(
                f"got size {self.size}, samples {self.samples}; expected an even size from 16 and samples from 1"
            )
        if self.environments and not list(Path(self.environments).glob("*.exr")):
            raise ConfigError(f"environments: got {self.environments!r}; expected a folder with *.exr files")


@dataclass(frozen=True)
class Subject:
    """A mesh with colours and occlusion at its vertices; :meth:`reference` builds its path-traced counterpart."""

    vertices_v3: Tensor
    triangles_f3: Tensor
    normals_v3: Tensor
    colour_v3: Tensor
    ao_v1: Tensor
    centre: tuple[float, float, float]
    width: float

    def reference(self, glossy: bool, exact_radius: float | None = None) -> Any:
        colours = (self.colour_v3 * (2 if glossy else 1)).numpy()
        alpha = _ALPHA if glossy else None
        if exact_radius:
            flat = {"type": "rgb", "value": colours[0].tolist()}
            return path_tracer.sphere(exact_radius, path_tracer.skin(flat, alpha))
        skin = path_tracer.skin({"type": "mesh_attribute", "name": "vertex_colour"}, alpha)
        return path_tracer.mesh(
            self.vertices_v3.numpy(), self.triangles_f3.numpy(), self.normals_v3.numpy(), colours, skin
        )


def evaluate(config: Config) -> dict[str, Any]:
    """Return the metrics, and write the sheet of image pairs."""
    metrics: dict[str, Any] = {}
    maps = _maps(config)
    lit = {name: sh.from_environment(torch.from_numpy(image).double()) for name, image in maps.items()}
    errors = [irradiance_error(torch.from_numpy(image).double(), lit[name]) for name, image in maps.items()]
    metrics["irradiance_rel_error"] = max(errors)
    metrics["irradiance_rel_error_mean"] = float(np.mean(errors))
    rows: dict[str, list[NDArray[np.float64]]] = {light: [] for light in maps}
    for name, subject, size, radius in (
        ("sphere", _sphere(), config.size // 2, 100.0),
        ("head", _head(), config.size, None),
    ):
        for glossy in (False, True):
            shape = subject.reference(glossy, radius)
            samples = config.samples * (8 if radius else 1)
            decibels = {}
            for light, image in maps.items():
                pairs = [_pair(subject, shape, image, lit[light], view, size, samples, glossy) for view in _VIEWS]
                decibels[light], pictures = _compare(pairs)
                rows[light].append(pictures.repeat(config.size // size, 0).repeat(config.size // size, 1))
            kind = f"{name}_psnr_db" if glossy else f"{name}_diffuse_psnr_db"
            metrics[kind] = float(np.mean(list(decibels.values())))
            metrics[f"{kind}_by_light"] = {light: round(value, 2) for light, value in decibels.items()}
            if glossy and radius:
                metrics["worst_light_psnr_db"] = min(decibels.values())
    metrics["gradcheck"] = gradients_are_right()
    metrics["sheet"] = storage.join(storage.root(config.storage), "evaluations", "shading.png")
    storage.write_bytes(metrics["sheet"], _sheet(rows))
    return metrics


def irradiance_error(image_hw3: Tensor, light_l3: Tensor) -> float:
    """RMS error of our irradiance over 400 normals, against the sum over the map's pixels, over the mean irradiance."""
    height, width, _ = image_hw3.shape
    directions_n3 = sh.environment_directions(height, width).reshape(-1, 3).float()
    weight_n1 = torch.from_numpy(sh.row_solid_angles(height, width)).repeat_interleave(width)[:, None]
    power_n3 = (weight_n1 * image_hw3.reshape(-1, 3)).float()
    normals_n3 = torch.from_numpy(on_sphere(400)).float()
    true_n3 = torch.cat([(n @ directions_n3.T).clamp_min(0) @ power_n3 for n in normals_n3.split(50)]).double()
    error_n3 = irradiance(light_l3[None], normals_n3.double()) - true_n3
    return float(error_n3.square().mean().sqrt() / true_n3.mean())


def gradients_are_right() -> bool:
    """Check gradients of rasterising and shading against finite differences, in float64, for every input."""
    generator = torch.Generator().manual_seed(0)
    mesh = trimesh.creation.icosphere(subdivisions=0, radius=100.0)
    triangles = torch.tensor(mesh.faces)
    view = _camera((20.0, 10.0), (0.0, 0.0, 0.0), 500.0, 9)
    maps = [torch.rand(1, len(mesh.vertices), c, generator=generator, dtype=torch.float64) for c in (3, 1, 1, 1)]
    light = torch.randn(1, 81, 3, generator=generator, dtype=torch.float64)
    vertices = torch.tensor(mesh.vertices + 0.7)[None]

    def picture(v: Tensor, k: Tensor, r: Tensor, t: Tensor, light_blc: Tensor, *values: Tensor) -> Tensor:
        camera = Camera(torch.cat([k, view.intrinsics_b33[:, 2:]], 1), r, t)
        pixels = covered(rasterize(v, triangles, camera, (9, 9)), len(triangles))
        normal = normalize(gather(pixels, triangles, v), dim=-1)
        towards = normalize(position(camera) - gather(pixels, triangles, v), dim=-1)
        material = Material(*(gather(pixels, triangles, value) for value in values))
        return shade(material, normal, towards, light_blc)

    inputs = [vertices, view.intrinsics_b33[:, :2], view.rotation_b33, view.translation_b3, light, *maps]
    return bool(gradcheck(picture, [x.clone().requires_grad_() for x in inputs], raise_exception=False))


def _maps(config: Config) -> Mapping[str, NDArray[np.float32]]:
    if not config.environments:
        return lights.load_lights()
    return {path.stem: read_exr(path).clip(0) for path in sorted(Path(config.environments).glob("*.exr"))}


def _sphere() -> Subject:
    mesh = trimesh.creation.icosphere(subdivisions=6, radius=100.0)
    vertices = torch.tensor(mesh.vertices)
    colour, open_sky = torch.tensor(SKIN).double().expand(len(vertices), 3), torch.ones(len(vertices), 1).double()
    return Subject(vertices, torch.tensor(mesh.faces), vertices / 100, colour, open_sky, (0.0, 0.0, 0.0), 220.0)


def _head() -> Subject:
    head = load_head()
    vertices, triangles = torch.tensor(head.template_v3).double(), torch.tensor(head.triangles_f3)
    normals = vertex_normals(vertices[None], triangles)[0]
    colour = torch.tensor(SKIN).double().repeat(len(vertices), 1)
    for material, value in ((1, (0.45, 0.42, 0.40)), (2, (0.30, 0.12, 0.10))):
        colour[triangles[torch.tensor(head.material_f) == material].flatten()] = torch.tensor(value).double()
    ao = ambient_occlusion(vertices.numpy(), triangles.numpy(), normals.numpy())
    return Subject(vertices, triangles, normals, colour, torch.from_numpy(ao)[:, None], (0.0, -40.0, -60.0), 330.0)


def ambient_occlusion(
    vertices_v3: NDArray[np.float64], triangles_f3: NDArray[np.int64], normals_v3: NDArray[np.float64], rays: int = 256
) -> NDArray[np.float64]:
    """Cosine-weighted share of the hemisphere above each vertex that the mesh leaves open, by ray casting."""
    local = on_hemisphere(rays)
    helper = np.where(np.abs(normals_v3[:, :1]) < 0.9, [[1.0, 0, 0]], [[0, 1.0, 0]])
    tangent = np.cross(helper, normals_v3)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    frame = np.stack([tangent, np.cross(normals_v3, tangent), normals_v3], 1)
    directions = (local @ frame).reshape(-1, 3)
    origins = np.repeat(vertices_v3 + 0.2 * normals_v3, rays, 0)
    hit = trimesh.Trimesh(vertices_v3, triangles_f3, process=False).ray.intersects_any(origins, directions)
    return 1 - np.asarray(hit).reshape(-1, rays).mean(1)


def _camera(view: tuple[float, float], centre: tuple[float, float, float], width: float, size: int) -> Camera:
    """Camera that looks at ``centre`` from azimuth and elevation; ``width`` mm at its depth fill the image."""
    azimuth, elevation = np.radians(view)
    back = np.array([np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)])
    right = np.cross([0, 1.0, 0], back) / np.cos(elevation)
    rotation = np.stack([right, -np.cross(back, right), -back])
    eye = np.array(centre) + _DISTANCE * back
    focal = size * _DISTANCE / width
    k = np.array([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    return Camera(*(torch.from_numpy(x)[None] for x in (k, rotation, -rotation @ eye)))


def _pair(
    subject: Subject, shape: Any, image: NDArray[np.float32], light_l3: Tensor, view: tuple[float, float], size: int,
    samples: int, glossy: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:  # fmt: skip
    """Return the reference, our image (both linear), and the mask of pixels to compare."""
    camera = _camera(view, subject.centre, subject.width, size)
    span = path_tracer.field_of_view(size, float(camera.intrinsics_b33[0, 0, 0]))
    eye = position(camera)[0].numpy()
    theirs, whole = path_tracer.trace(shape, image, eye, np.array(subject.centre), span, size, samples)
    ours, mask = _shaded(subject, _camera(view, subject.centre, subject.width, 2 * size), light_l3, 2 * size, glossy)
    return theirs.astype(np.float64), ours, whole & mask


def _shaded(
    subject: Subject, camera: Camera, light_l3: Tensor, size: int, glossy: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return our image at half of ``size``, averaged over 2 x 2 pixels, and the mask of fully covered pixels."""
    triangles = subject.triangles_f3
    pixels = covered(rasterize(subject.vertices_v3[None], triangles, camera, (size, size)), len(triangles))
    point, normal, colour, ao = (
        gather(pixels, triangles, x[None])
        for x in (subject.vertices_v3, subject.normals_v3, subject.colour_v3, subject.ao_v1)
    )
    normal, towards, light = normalize(normal, dim=-1), normalize(position(camera) - point, dim=-1), light_l3[None]
    if glossy:
        material = Material(colour, torch.full_like(ao, SPECULAR), ao, torch.zeros_like(ao))
        value = shade(material, normal, towards, light)
    else:
        value = ao * colour / math.pi * irradiance(light, normal)
    picture = avg_pool2d(scatter(pixels, torch.cat([value, torch.ones_like(ao)], -1), (1, size, size)), 2)[0]
    return picture[:3].permute(1, 2, 0).numpy(), picture[3].numpy() > 1 - 1e-6


def _compare(
    pairs: list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]],
) -> tuple[float, NDArray[np.float64]]:
    """Return the PSNR over all views, and reference, ours and difference (x 4) of the first two, side by side."""
    exposure = 0.4 / np.concatenate([theirs[mask] for theirs, _, mask in pairs]).mean()

    def display(linear: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(to_srgb(torch.from_numpy(exposure * linear).clamp(0, 1)).numpy())

    error = np.concatenate([(display(theirs) - display(ours))[mask] for theirs, ours, mask in pairs])
    pictures = []
    for theirs, ours, mask in pairs[:2]:
        a, b = display(theirs), display(ours)
        pictures += [a, b, np.where(mask[..., None], np.abs(a - b) * 4, 0).clip(0, 1)]
    return float(-10 * np.log10((error**2).mean())), np.concatenate(pictures, 1)


def _sheet(rows: Mapping[str, list[NDArray[np.float64]]]) -> bytes:
    """One named row per light: pairs and differences of sphere and head, diffuse and all terms, two views each."""
    from PIL import Image, ImageDraw

    pictures = np.concatenate([np.concatenate(row, 1) for row in rows.values()])
    image = Image.fromarray((pictures * 255 + 0.5).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for i, name in enumerate(rows):
        pen.text((2, i * image.height // len(rows)), f"{name}: path traced, ours, difference x 4", fill=(160, 160, 160))
    return png(np.asarray(image))
