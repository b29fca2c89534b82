"""Render a subject: skin, eyes, teeth, hair and clothes under a light, seen by a camera. Linear RGB.

The project's own shading shades the skin. :mod:`occlusion` gives the head's cast shadows at its vertices.
"""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d, normalize, one_hot

from mosar.datasets import lights
from mosar.datasets.schema import CLASSES
from mosar.datasets.virtual_stage.accessories import Accessories
from mosar.datasets.virtual_stage.geometry import FUZZ, HAIR, SKIN
from mosar.models.camera import Camera, transform_image, views
from mosar.models.colour import to_linear
from mosar.models.head import Head
from mosar.models.rasterizer import Covered, covered, gather, rasterize, scatter
from mosar.models.shading import highlight, irradiance, sh, soften
from mosar.models.uv import sample

EYES, MOUTH = 1, 2
SUPERSAMPLE = 2
HAIR_SHEEN = 0.3
"""Factor on the highlight of hair: strands are wider than real hairs and occlude each other less."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything visible of a subject, as tensors.

    Attributes:
        vertices_v3: head vertices, mm, head frame; float64, rounded by :mod:`quantize`.
        normals_v3: their normals, likewise.
        texels_1chw: stacked skin maps: diffuse 3 (linear), specular, cavity (the fine part of AO), translucency,
            head-frame normal 3, and coverage by scalp hair or pocket.
        shadow_v3: share of the light that reaches a vertex.
        openings_vk: coefficients of the directions that the head leaves open (:func:`.occlusion.openings`).
        iris: linear albedo.
        classes_hw: class numbers of the skin's texels.
        accessories: hair, clothes and the like.
    """

    vertices_v3: Tensor
    normals_v3: Tensor
    texels_1chw: Tensor
    shadow_v3: Tensor
    openings_vk: Tensor
    iris: NDArray[np.floating]
    accessories: Accessories
    classes_hw: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class RenderedView:
    """A rendered picture.

    ``colour_hw3``: linear, in front of the background; ``alpha_hw``: coverage by the scene; ``skin_hw``: coverage by
    visible skin; ``depth_hw``: mm at the pixel's first sample, infinite in the background; ``classes_hw``: the class
    that covers most of a pixel.
    """

    colour_hw3: NDArray[np.float32]
    alpha_hw: NDArray[np.float32]
    skin_hw: NDArray[np.float32]
    depth_hw: NDArray[np.float64]
    classes_hw: NDArray[np.uint8]


@torch.no_grad()
def render_view(
    head: Head, scene: Scene, camera: Camera, light: lights.EnvironmentLight, background_hw3: NDArray[np.float32]
) -> RenderedView:
    """Render at the background's size; ``camera`` in double precision."""
    height, width = background_hw3.shape[:2]
    fine = transform_image(camera, torch.diag(torch.tensor([SUPERSAMPLE, SUPERSAMPLE, 1.0])).double())
    accessories = scene.accessories
    vertices = torch.cat([scene.vertices_v3, accessories.vertices_v3.double()])[None]
    triangles = torch.cat([torch.tensor(head.triangles_f3), accessories.triangles_f3 + len(scene.vertices_v3)])
    size = (height * SUPERSAMPLE, width * SUPERSAMPLE)
    fragments = rasterize(vertices, triangles, fine, size)
    # visibility in double precision, so that it is equal on all machines; shading in single precision
    seen = covered(fragments, len(triangles))
    seen = dataclasses.replace(seen, barycentric_n3=seen.barycentric_n3.float())
    normals = torch.cat([scene.normals_v3.float(), accessories.normals_v3])
    normal = normalize(gather(seen, triangles, normals[None]), dim=-1)
    view = views(fine.to(torch.float32), gather(seen, triangles, vertices.float())[None])[0]
    lit = gather(seen, triangles, torch.cat([scene.shadow_v3, accessories.shadow_v3])[None])
    material = torch.cat([torch.tensor(head.material_f), accessories.material_f])[seen.triangle_n]

    uv_triangles = torch.cat([torch.tensor(head.uv_triangles_f3), torch.zeros_like(accessories.triangles_f3)])
    uv = gather(seen, uv_triangles, torch.tensor(head.uv_w2)[None])
    texel = sample(scene.texels_1chw, uv[None])[0]
    diffuse, specular, cavity, translucency, bent, hidden = texel.split([3, 1, 1, 1, 3, 1], 1)
    is_skin = (material == SKIN)[:, None]
    smooth = normal
    normal = torch.where(is_skin, normalize(bent, dim=-1), normal)
    rest, albedo = (gather(seen, triangles, x[None]) for x in (accessories.rest_v3, accessories.albedo_v3))
    other = accessories.surface(material, rest, albedo, normal)
    is_other = other.cover_n1 > 0.5
    for index, shine in ((EYES, 0.3), (MOUTH, 0.45)):
        here = (material == index)[:, None]
        own = eyes_and_mouth(head, index, scene.iris)
        diffuse = torch.where(here, sample(own, uv[None])[0], diffuse)
        specular = torch.where(here, torch.full_like(specular, shine), specular)
        cavity = torch.where(here, torch.ones_like(cavity), cavity)
        translucency = torch.where(here, torch.full_like(cavity, 0.1), translucency)
    diffuse, normal = torch.where(is_other, other.diffuse_n3, diffuse), torch.where(is_other, other.normal_n3, normal)
    smooth = torch.where(is_skin & ~is_other, smooth, normal)
    specular = torch.where(is_other, other.specular_n1, specular)
    cavity = torch.where(is_other, torch.ones_like(cavity), cavity)
    translucency = torch.where(is_other, torch.zeros_like(cavity), translucency)

    light_1lc = torch.from_numpy(light.sh_l3)[None]
    soft = soften(normal, smooth)
    scattered = diffuse / math.pi * irradiance(light_1lc, soft[None], translucency[None])[0]
    lit = lit.clamp(0, 1)
    open_lobe = _open_lobe(scene, seen, triangles, normal, view, lit)
    thin = torch.ones_like(lit)
    thin[material == HAIR], thin[material == FUZZ] = HAIR_SHEEN, 0
    mirrored = thin * highlight(specular, normal, view, light_1lc) * open_lobe
    # light that other surfaces of the same albedo pass on to hidden places (multi-bounce occlusion): warmer, less dark
    bounced = torch.where(is_other, lit, lit / (1 - diffuse.clamp(0, 0.9) * (1 - lit)))
    colour = (scattered * bounced + mirrored * lit) * cavity
    colour = colour.clamp(min=0) + _glint(light, material, normal, view, lit.clamp(0, 1))
    fuzz = (material == FUZZ)[:, None]
    visible_skin = ((is_skin & ~is_other & (hidden < 0.5)) | fuzz).float()
    classes = _classes(scene, material, uv, is_other[:, 0], seen.triangle_n - len(head.triangles_f3))
    values = torch.cat([colour, torch.ones_like(cavity), visible_skin, classes], 1)
    picture = avg_pool2d(scatter(seen, values, (1, *size)), SUPERSAMPLE)[0]
    alpha = picture[3:4].permute(1, 2, 0).numpy()
    depth = fragments.zbuf[0, ::SUPERSAMPLE, ::SUPERSAMPLE, 0]
    return RenderedView(
        colour_hw3=picture[:3].permute(1, 2, 0).numpy() + background_hw3 * (1 - alpha),
        alpha_hw=alpha[..., 0],
        skin_hw=picture[4].numpy(),
        depth_hw=torch.where(depth > 0, depth, torch.inf).numpy(),
        classes_hw=torch.cat([1 - picture[3:4], picture[6:]]).argmax(0).to(torch.uint8).numpy(),
    )


def _open_lobe(scene: Scene, seen: Covered, triangles_f3: Tensor, normal: Tensor, view: Tensor, lit: Tensor) -> Tensor:
    """Share (n, 3) of a highlight that the head's own horizon leaves, along the mirror direction; times ``lit``.

    Fuzz and the like have no horizon; a lobe below the mesh's surface is lost.
    """
    bands = math.isqrt(scene.openings_vk.shape[1])
    around = torch.zeros(len(scene.accessories.vertices_v3), bands**2)
    around[:, 0] = math.sqrt(4 * math.pi)
    openings = gather(seen, triangles_f3, torch.cat([scene.openings_vk, around])[None])
    facing = (normal * view).sum(-1, keepdim=True)
    mirror = normalize(2 * facing * normal - view, dim=-1)
    open_n1 = (openings * sh.evaluate(mirror, bands)).sum(-1, keepdim=True).clamp(0, 1)
    return lit * open_n1 * (facing.clamp(0, 0.2) / 0.2)


def _classes(scene: Scene, material_n: Tensor, uv_n2: Tensor, other_n: Tensor, triangle_n: Tensor) -> Tensor:
    """One-hot classes (n, CLASSES) of the samples; ``triangle_n`` counts from the first one of the accessories."""
    height, width = scene.classes_hw.shape
    row = ((1 - uv_n2[:, 1]) * height).long().clamp(0, height - 1)
    column = (uv_n2[:, 0] * width).long().clamp(0, width - 1)
    found = torch.from_numpy(scene.classes_hw.astype(np.int64))[row, column]
    for index, name in ((EYES, "eyes"), (MOUTH, "mouth")):
        found[material_n == index] = CLASSES.index(name)
    found[other_n] = CLASSES.index("cloth")  # on the head's own surface; the other meshes follow
    added = triangle_n >= 0
    found[added] = scene.accessories.class_f[triangle_n[added]]
    return one_hot(found, len(CLASSES)).float()


def backdrop(
    rng: np.random.Generator, light: lights.EnvironmentLight, camera: Camera, size: int, plain: float = 0.45
) -> NDArray[np.float32]:
    """Background (size, size, 3): the environment out of focus, or with probability ``plain`` a plain wall."""
    import cv2

    level = float(light.sh_l3[0].mean()) * 0.2821
    if rng.random() < plain:
        cool = rng.uniform(0, 0.45) * np.array([-1.0, 0, 1.0]) if rng.random() < 0.5 else np.zeros(3)
        colour = min(level, 0.7) * rng.uniform(0.05, 1.0) * np.exp(cool + rng.normal(0, 0.1, 3))
        rows, columns = np.mgrid[0:size, 0:size] / size - 0.5
        slope = rng.normal(0, 0.4, 2)
        shade_hw = np.exp(rows * slope[0] + columns * slope[1] - rng.uniform(0, 1.2) * (rows**2 + columns**2))
        return (shade_hw[..., None] * colour).astype(np.float32)
    coarse = 48
    inverse = torch.linalg.inv(camera.intrinsics_b33[0].double()).numpy()
    step = size / coarse
    y, x = (np.mgrid[0:coarse, 0:coarse] + 0.5) * step
    # through a wider lens than the subject: the crop's magnification of the face would blow up the background
    rays = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3) @ inverse.T
    rays[:, :2] *= rng.uniform(1, 2.5)
    rays = rays @ camera.rotation_b33[0].double().numpy()
    image = lights.radiance(light, rays / np.linalg.norm(rays, axis=1, keepdims=True)).reshape(coarse, coarse, 3)
    image = cv2.GaussianBlur(np.minimum(image, 20 * level), (0, 0), rng.uniform(0.5, 3))
    if rng.random() < 0.75:  # photographers avoid backgrounds that would burn out
        image = image * min(1.0, 0.45 / max(float(np.median(image)), 1e-3))
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC).clip(0), np.float32)


def _glint(light: lights.EnvironmentLight, material: Tensor, normal: Tensor, view: Tensor, lit: Tensor) -> Tensor:
    """Reflection of the environment map in wet eyes (n, 3), sharper than nine bands could show it."""
    glint = torch.zeros_like(normal)
    here = torch.nonzero(material == EYES)[:, 0]
    if len(here):
        n, v = normal[here], view[here]
        mirror = 2 * (n * v).sum(-1, keepdim=True) * n - v
        found = lights.radiance(light, mirror.double().numpy(), lamps=True)
        glint[here] = 0.02 * lit[here] ** 2 * torch.from_numpy(np.minimum(found, 40))
    return glint


def eyes_and_mouth(head: Head, material: int, iris: NDArray[np.floating]) -> Tensor:
    """The head's linear albedo map (1, 3, H, W) of eyes or mouth; the iris gets the subject's colour."""
    stored = getattr(head, f"{head.material_names[material]}_albedo_hw3")
    albedo = to_linear(torch.tensor(stored).permute(2, 0, 1)[None].double() / 255.0)
    if material != EYES:
        return albedo.float()
    value = albedo.mean(1, keepdim=True)
    coloured = ((value > 0.012) & (value < 0.35)).float()
    mean = (value * coloured).sum() / coloured.sum().clamp_min(1)
    tinted = torch.tensor(iris).double()[None, :, None, None] * (value / mean.clamp_min(1e-3)).clamp(0.3, 2)
    return torch.where(coloured > 0, tinted, albedo * torch.where(value >= 0.35, 0.8, 1.0)).float()
