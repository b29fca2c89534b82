"""Fit the person's shape through the shading: normals that explain the photograph on the chart.

The photograph is unwrapped at the first mesh. A texel keeps its colour while the mesh changes a little, and its
brightness tells its normal. Unknowns are identity codes, the low bands of the light and reflectance codes together,
because each could explain what another one did: Gauss-Newton steps with re-weighting, on a few thousand texels instead
of a rendered picture.

Legend: n seen texels, i identity codes, l light coefficients, k reflectance codes, c colour channels, p all unknowns.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mosar.models.colour import to_linear
from mosar.models.head import Head
from mosar.models.head.morph import vertex_normals
from mosar.models.morphable.network import Morphable
from mosar.models.reconstruct.identity_belief import Belief
from mosar.models.reconstruct.light_estimation import LOW_BANDS, light_deviation
from mosar.models.shading import irradiance
from mosar.models.uv import chart
from mosar.models.uv import interpolate as at_texels

NOISE = 0.12  # deviation of a texel's radiance from the model, as a share of the median; most of it is model error
INDEPENDENT = 150.0  # effective number of independent texels: errors are correlated over large patches
_ROUNDS = 4
_STEP = 1e-2  # of finite differences, radians
_DARKEST = 0.05  # least irradiance, as a share of the mean


@dataclass(frozen=True, eq=False)
class Observed:
    """Texels that show skin.

    Attributes:
        index_n: their places in the flattened chart of the morphable model's reflectance.
        colour_n3: linear, without highlights.
        ao_n1: share of the surroundings that each sees.
        weight_n: how far they count.
    """

    index_n: Tensor
    colour_n3: Tensor
    ao_n1: Tensor
    weight_n: Tensor


@dataclass(frozen=True, eq=False)
class Explained:
    """What is believed of the identity, light (1, 81, 3), reflectance codes (1, k), the objective before and after."""

    belief: Belief
    light_1lc: Tensor
    reflectance_1k: Tensor
    start: float
    end: float


@torch.no_grad()
def fit_shading(
    head: Head,
    morphable: Morphable,
    mesh_1v3: Tensor,
    prior: Belief,
    expression_1e: Tensor,
    observed: Observed,
    light_1lc: Tensor,
    reflectance_1k: Tensor,
    noise: float = NOISE,
    independent: float = INDEPENDENT,
) -> Explained:
    """Minimise the negative log posterior; never worse than the start.

    Args:
        mesh_1v3: the posed mesh at which the photograph was unwrapped, mm.
        prior: the identity codes given all else that is known; their mean is the identity of the mesh.
        light_1lc, reflectance_1k: estimates to start from; the light's is also its prior's mean.
    """
    identity_1i, precision_ii = prior.mean_1k, prior.precision_kk
    size = morphable.config.texture_size
    basis_kcn = morphable.reflectance_basis.unflatten(1, (4, size * size))[:, :3, observed.index_n]
    mean_cn = morphable.reflectance_mean.unflatten(0, (4, size * size))[:3, observed.index_n]
    normals = _Normals(head, morphable, mesh_1v3, identity_1i, expression_1e, observed.index_n)
    deviation = light_deviation(light_1lc)
    codes, light, reflectance = torch.zeros_like(identity_1i[0]), light_1lc.clone(), reflectance_1k[0].clone()
    level = observed.colour_n3[observed.weight_n > 0].mean(dim=1).median().clamp_min(0.02)
    share = observed.weight_n * (independent / (3 * observed.weight_n.sum().clamp_min(1.0)))

    def missing(codes: Tensor, light: Tensor, reflectance: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Residual (n, c), normals (n, 3), albedo past the occlusion (n, c), irradiance (n, c)."""
        normal_n3 = normals.at(codes)
        lit_n3 = irradiance(light, normal_n3[None])[0] / torch.pi
        lit_n3 = torch.maximum(lit_n3, _DARKEST * lit_n3.mean(dim=0))
        albedo_n3 = (
            to_linear((mean_cn + torch.tensordot(reflectance, basis_kcn, 1)).clamp(0.02, 1.0)).T * observed.ao_n1
        )
        return (observed.colour_n3 - albedo_n3 * lit_n3) / (noise * level), normal_n3, albedo_n3, lit_n3

    def objective(residual_n3: Tensor, codes: Tensor, light: Tensor, reflectance: Tensor) -> float:
        squared = residual_n3.square().mean(dim=1)
        robust = 4.0 * squared / (squared + 4.0)  # Geman-McClure
        penalty = codes @ precision_ii @ codes + reflectance.square().sum()
        penalty = penalty + ((light - light_1lc)[0, :LOW_BANDS] / deviation[:, None]).square().sum()
        return float(3.0 * (share * robust).sum() + penalty)

    residual, normal, albedo, lit = missing(codes, light, reflectance)
    first = value = objective(residual, codes, light, reflectance)
    count, size_r = len(codes), len(reflectance)
    for _ in range(_ROUNDS):
        weight_n = share * (4.0 / (residual.square().mean(dim=1) + 4.0)).square()
        columns = _columns(normals, normal, light, albedo, lit, basis_kcn, observed.ao_n1) / (noise * level)
        weighted = columns * weight_n[:, None]
        system = torch.einsum("pnc,qnc->pq", weighted, columns)
        right = torch.einsum("pnc,nc->p", weighted, residual)
        light_precision = (1.0 / deviation.square()).repeat_interleave(3)
        system[:count, :count] += precision_ii
        right[:count] -= precision_ii @ codes
        inner = slice(count, count + 3 * LOW_BANDS)
        system[inner, inner] += light_precision.diag()
        right[inner] -= light_precision * (light - light_1lc)[0, :LOW_BANDS].flatten()
        system[-size_r:, -size_r:] += torch.eye(size_r).to(system)
        right[-size_r:] -= reflectance
        step = torch.linalg.solve(system.double(), right.double()).to(system)
        for shorter in (1.0, 0.5, 0.25):
            change = light.clone()
            change[0, :LOW_BANDS] += shorter * step[inner].unflatten(0, (-1, 3))
            tried = codes + shorter * step[:count], change, reflectance + shorter * step[-size_r:]
            found = missing(*tried)
            new = objective(found[0], *tried)
            if new < value:
                break
        else:
            break
        codes, light, reflectance = tried
        residual, normal, albedo, lit = found
        value = new
    told = Belief(identity_1i + codes[None], _marginal(system, count))
    return Explained(told, light, reflectance[None], first, value)


def _marginal(system_pp: Tensor, count: int) -> Tensor:
    """Inverse covariance of the first unknowns, whatever all others are."""
    system = system_pp.double()
    mine, both, rest = system[:count, :count], system[:count, count:], system[count:, count:]
    return (mine - both @ torch.linalg.solve(rest, both.T)).to(system_pp)


class _Normals:
    """Normals of the texels as functions of a change of the identity codes, about the posed mesh."""

    def __init__(
        self, head: Head, morphable: Morphable, mesh_1v3: Tensor, identity: Tensor, expression: Tensor, index_n: Tensor
    ) -> None:
        self._triangles = torch.tensor(head.triangles_f3).to(mesh_1v3.device)
        texels = chart(head, morphable.config.texture_size).to(mesh_1v3.device)
        self._texels, self._index_n = texels, index_n
        self._mesh, self._morphable = mesh_1v3, morphable
        self._identity, self._expression = identity, expression
        self._start = morphable.decode(identity, expression)
        units = torch.eye(identity.shape[1]).to(identity)
        moved = morphable.decode(identity + _STEP * units, expression.expand(len(units), -1)) - self._start
        base = vertex_normals(mesh_1v3, self._triangles)
        turned = vertex_normals(mesh_1v3 + moved, self._triangles) - base
        self.slope_in3 = self._at_texels(turned) / _STEP

    def at(self, codes_i: Tensor) -> Tensor:
        """Unit normals (n, 3)."""
        moved = self._morphable.decode(self._identity + codes_i, self._expression) - self._start
        normals = vertex_normals(self._mesh + moved, self._triangles)
        return normalize(self._at_texels(normals)[0], dim=-1)

    def _at_texels(self, values_bv3: Tensor) -> Tensor:
        return at_texels(self._texels, self._triangles, values_bv3).flatten(2)[:, :, self._index_n].mT


def _columns(
    normals: _Normals,
    normal_n3: Tensor,
    light: Tensor,
    albedo_n3: Tensor,
    lit_n3: Tensor,
    basis_kcn: Tensor,
    ao: Tensor,
) -> Tensor:
    """Derivatives (p, n, c) of the radiance: identity codes, light coefficients and channels, reflectance codes."""
    along = [normalize(normal_n3 + _STEP * axis, dim=-1) for axis in torch.eye(3).to(normal_n3)]
    bent = irradiance(light.expand(3, -1, -1), torch.stack(along)) / torch.pi  # 3 n c
    slope_3nc = (bent - irradiance(light, normal_n3[None]) / torch.pi) / _STEP
    shape = torch.einsum("inx,xnc->inc", normals.slope_in3, slope_3nc) * albedo_n3
    units = light.new_zeros(LOW_BANDS, 81, 3)
    units[torch.arange(LOW_BANDS), torch.arange(LOW_BANDS)] = 1.0
    by_light = irradiance(units, normal_n3.expand(LOW_BANDS, -1, -1)) / torch.pi  # l n c
    lights = torch.einsum("lnc,cd->lcnd", by_light * albedo_n3, torch.eye(3).to(light)).flatten(0, 1)
    # The albedo is linear in sRGB-encoded values; its derivative by finite differences of the curve.
    encoded = albedo_n3 / ao.clamp_min(1e-3)
    curve = _slope_of_curve(encoded) * ao
    colours = basis_kcn.permute(0, 2, 1) * (curve * lit_n3)
    return torch.cat([shape, lights, colours])


def _slope_of_curve(linear_n3: Tensor) -> Tensor:
    """Derivative of the sRGB decoding at a linear value."""
    return 2.4 / 1.055 * linear_n3.clamp_min(1e-4) ** (1.4 / 2.4)
