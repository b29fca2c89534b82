"""Surface reflectance and the complete shading. Linear RGB; shapes as in the package."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from mosar.models.shading import sh
from mosar.models.shading.light import irradiance, reflection

SHARPNESS = 14.0
"""Phong sharpness of the specular lobe of skin; it corresponds to roughness 0.43.

With it, rendered faces have highlights as large, bright and coloured as portraits have (docs/virtual_stage.md). A lobe
of sharpness 32, behind nine bands of light, looks like metal.
"""

RELIEF = 0.5
"""Share of the relief's slopes that diffuse light of skin shows (blended normals, Jensen and Buhler 2002)."""

_FIT_DEGREE = 7


@dataclass(frozen=True)
class Material:
    """Reflectance of a surface at points (B, N, .) or packed (N, .).

    Attributes:
        diffuse: (..., 3) albedo, linear, [0, 1].
        specular: (..., 1) in [0, 1]; the reflectance at normal incidence F0 is 0.08 times it (skin: 0.35).
        ao: (..., 1) ambient occlusion, 1 is unoccluded.
        translucency: (..., 1) in [0, 1], 0 is Lambert.
    """

    diffuse: Tensor
    specular: Tensor
    ao: Tensor
    translucency: Tensor


def shade(
    material: Material,
    normals: Tensor,
    views: Tensor,
    light_blc: Tensor,
    image_n: Tensor | None = None,
    sharpness: float = SHARPNESS,
    mesh_normals: Tensor | None = None,
) -> Tensor:
    """Radiance towards the viewer: ``rho / pi AO E^T(n) + AO (F0 a + b) R(r)``, ``r = 2 (n.v) n - v``.

    Args:
        material: reflectance at the points.
        normals: (B, N, 3) or packed (N, 3), unit, head frame.
        views: like normals; directions from the surface to the camera.
        light_blc: (B, 81, 3), head frame. The specular term applies :func:`sh.window` to it, because nine bands of a
            small source ring under a sharp lobe.
        image_n: index of each packed point's light, ascending.
        sharpness: Phong sharpness of the specular lobe.
        mesh_normals: like normals, without the relief of a normal map. Light that scatters below the surface leaves it
            beside where it came in, so that diffuse light sees only part of the relief (:data:`RELIEF`). Without them
            it sees all of it.

    Returns:
        (B, N, 3) or (N, 3), linear, not clamped: negative where nine bands ring.
    """
    shapes = [tuple(x.shape) for x in (material.diffuse, material.specular, material.ao, material.translucency)]
    lead = tuple(normals.shape[:-1])
    if shapes != [(*lead, 3), (*lead, 1), (*lead, 1), (*lead, 1)] or views.shape != normals.shape:
        raise ValueError(
            f"shade: got diffuse {shapes[0]}, specular {shapes[1]}, ao {shapes[2]}, translucency {shapes[3]}, normals "
            f"{tuple(normals.shape)}, views {tuple(views.shape)}; expected (..., 3) for diffuse, normals "
            "and views, (..., 1) for the others"
        )
    soft = normals if mesh_normals is None else soften(normals, mesh_normals)
    diffuse = material.diffuse / math.pi * irradiance(light_blc, soft, material.translucency, image_n)
    return material.ao * (diffuse + highlight(material.specular, normals, views, light_blc, image_n, sharpness))


def soften(normals: Tensor, mesh_normals: Tensor) -> Tensor:
    """Normals (..., 3) that diffuse light of skin sees: :data:`RELIEF` of the way from the mesh's to the relief's."""
    return normalize(mesh_normals + RELIEF * (normals - mesh_normals), dim=-1)


def highlight(
    specular: Tensor,
    normals: Tensor,
    views: Tensor,
    light_blc: Tensor,
    image_n: Tensor | None = None,
    sharpness: float = SHARPNESS,
) -> Tensor:
    """The specular part of :func:`shade` (..., 3) without ambient occlusion; ``specular`` (..., 1)."""
    facing = (normals * views).sum(-1, keepdim=True)
    mirror = 2 * facing * normals - views
    a, b = environment_brdf(facing.clamp(0, 1), sharpness)
    return (0.08 * specular * a + b) * reflection(sh.window(light_blc), mirror, sharpness, image_n)


def environment_brdf(cosine: Tensor, sharpness: float = SHARPNESS) -> tuple[Tensor, Tensor]:
    """a and b of the split sum (Karis 2013) at n.v in [0, 1]: under unit light a lobe reflects ``F0 a + b``."""
    coefficients = _environment_brdf(float(sharpness))
    # Horner's scheme, for both polynomials at once.
    values = [cosine.new_full((1,), x) for x in coefficients[-1]]
    for pair in reversed(coefficients[:-1]):
        values = [value * cosine + x for value, x in zip(values, pair, strict=True)]
    return values[0], values[1]


@lru_cache
def _environment_brdf(sharpness: float) -> list[tuple[float, float]]:
    """Polynomials in n.v of the numerically integrated GGX lobe, with separable Smith masking and Schlick's Fresnel.

    A reflected Phong lobe of sharpness s is about as wide as a GGX lobe of roughness r: ``4 s + 2 = 2 / r ** 4``.
    """
    alpha2 = 2 / (4 * sharpness + 2)
    view_cosine = np.linspace(0.01, 1, 60)[:, None, None]
    u = ((np.arange(256) + 0.5) / 256)[None, :, None]
    phi = (2 * np.pi * (np.arange(16) + 0.5) / 16)[None, None]
    half_cosine = np.sqrt((1 - u) / (1 + (alpha2 - 1) * u))  # samples half vectors in proportion to D (n.h)
    half_view = np.sqrt(1 - view_cosine**2) * np.sqrt(1 - half_cosine**2) * np.cos(phi) + view_cosine * half_cosine
    light_cosine = 2 * half_view * half_cosine - view_cosine

    def unmasked(cosine: NDArray[np.float64]) -> NDArray[np.float64]:
        return 2 * cosine / (cosine + np.sqrt(alpha2 + (1 - alpha2) * cosine**2))

    lit = (light_cosine > 0) & (half_view > 0)
    weight = np.where(
        lit, unmasked(view_cosine) * unmasked(np.abs(light_cosine)) * half_view / (view_cosine * half_cosine), 0.0
    )
    fresnel = (1 - half_view.clip(0, 1)) ** 5
    terms = [((1 - fresnel) * weight).mean((1, 2)), (fresnel * weight).mean((1, 2))]
    fits = [np.polynomial.Polynomial.fit(view_cosine[:, 0, 0], t, _FIT_DEGREE).convert().coef for t in terms]
    return [(float(a), float(b)) for a, b in zip(*fits, strict=True)]
