"""A mirror-symmetric chart of a head that is a disc: cut down the back, filling the unit square, without flips.

Half of the head is flattened into half of the square and mirrored. It starts from Tutte's embedding, which has no
flipped triangle, and then minimises the symmetric Dirichlet energy |J|^2 + |J^-1|^2 of every triangle relative to its
intended size; the energy is infinite at a flip. Boundary vertices slide along the side of the square they lie on.
"""

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
import scipy.sparse.linalg as spla

from mosar.errors import DataError

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.int64]

_ITERATIONS = 600
_MEMORY = 10
_ROUNDS = 60
_YIELDING = 0.5


def boundary_loop(triangles_f3: Index) -> Index:
    """The vertices of the only boundary loop, in the direction of the triangles' edges.

    Raises:
        DataError: the boundary is not manifold, or there is no loop or several.
    """
    edges = np.concatenate([triangles_f3[:, [i, (i + 1) % 3]] for i in range(3)])
    both = {(int(a), int(b)) for a, b in edges}
    following: dict[int, int] = {}
    for a, b in both:
        if (b, a) not in both:
            if a in following:
                raise DataError(f"vertex {a} lies on two boundary loops; expected a manifold mesh")
            following[a] = b
    if not following:
        raise DataError("the skin is closed; expected one open boundary at the neck")
    loop = [min(following)]
    while (after := following[loop[-1]]) != loop[0]:
        loop.append(after)
    if len(loop) != len(following):
        raise DataError(f"the skin has several boundary loops ({len(following) - len(loop)} vertices beside the first)")
    return np.array(loop)


def parameterize(
    vertices_v3: Array, triangles_f3: Index, mirror_v: Index, scale_f: Array, corner: float = 0.3
) -> tuple[Array, Index]:
    """Chart of the skin: ``uv_w2`` in the unit square, and ``uv_triangles_f3`` that index it.

    Args:
        vertices_v3: template, head frame (V 3); vertices of other materials are ignored.
        triangles_f3: the skin's triangles (F 3), mirror-symmetric.
        mirror_v: index of the mirrored vertex; itself on the midline.
        scale_f: intended chart length per length on the triangle, up to a common factor.
        corner: position of the square's upper corners on the cut, as a share of its length from the crown.

    Raises:
        DataError: the mesh is not a symmetric disc.
    """
    left = vertices_v3[triangles_f3].mean(1)[:, 0] > 0
    half_f3 = triangles_f3[left]
    inside_v, half_f3 = np.unique(half_f3, return_inverse=True)
    half_f3 = half_f3.reshape(-1, 3)
    half_v3, middle = vertices_v3[inside_v], (mirror_v == np.arange(len(mirror_v)))[inside_v]
    neck = np.isin(inside_v, boundary_loop(triangles_f3))
    front, back, crown, loop = _corners(half_v3, half_f3, middle, neck)

    corners_n2 = np.array([[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]])
    seam = np.arange(loop.tolist().index(back), loop.tolist().index(crown) + 1)
    lengths = np.r_[0, np.linalg.norm(np.diff(half_v3[loop[seam]], axis=0), axis=1).cumsum()]
    turn = loop[seam[np.argmin(np.abs(lengths / lengths[-1] - (1 - corner)))]]
    stops = [0, *(loop.tolist().index(v) for v in (back, turn, crown)), len(loop)]
    uv, free = np.zeros((len(half_v3), 2)), np.ones((len(half_v3), 2), bool)
    closed = np.r_[loop, front]
    for i in range(4):
        side = closed[stops[i] : stops[i + 1] + 1]
        along = np.r_[0, np.linalg.norm(np.diff(half_v3[side], axis=0), axis=1).cumsum()]
        uv[side] = corners_n2[i] + (along / along[-1])[:, None] * (corners_n2[(i + 1) % 4] - corners_n2[i])
        free[side, (i + 1) % 2] = False
        free[side[[0, -1]]] = False
    uv = _spread(uv, half_v3, half_f3, scale_f[left], loop, free)
    uv = _descend(uv, half_v3, half_f3, free, scale_f[left])
    return _mirrored(uv, inside_v, half_f3, middle, triangles_f3, left, mirror_v)


def _corners(
    half_v3: Array, half_f3: Index, middle: npt.NDArray[np.bool_], neck: npt.NDArray[np.bool_]
) -> tuple[int, int, int, Index]:
    """Front and back end of the neck, the crown, and the half's boundary loop from the front of the neck."""
    ends = np.nonzero(middle & neck)[0]
    if len(ends) != 2:
        raise DataError(f"the neck's boundary crosses the midline {len(ends)} times, expected twice")
    front, back = ends[np.argsort(-half_v3[ends, 2])]
    loop = boundary_loop(half_f3)
    loop = np.roll(loop, -loop.tolist().index(front))
    if not neck[loop[1]] or middle[loop[1]]:
        raise DataError("triangles wind clockwise seen from outside; expected counter-clockwise")
    top = np.nonzero(middle)[0]
    crown = top[np.argmax(half_v3[top, 1])]
    return int(front), int(back), int(crown), loop


def _spread(
    uv: Array, vertices_v3: Array, triangles_f3: Index, scale_f: Array, loop: Index, free: npt.NDArray[np.bool_]
) -> Array:
    """Tutte's embedding, repeated with weights that are divided by the stretch around the vertex they lead to.

    No triangle flips with any positive weights, and these weights even out the areas (Yoshizawa et al., "A fast and
    simple stretch-minimizing mesh parameterization", 2004). Midline vertices count as inner ones along the midline.
    """
    inverse_f22, area_f = _rest(vertices_v3, triangles_f3, scale_f)
    edges = np.concatenate([triangles_f3[:, [i, j]] for i in range(3) for j in range(3) if i != j])
    weights = sp.coo_matrix((np.ones(len(edges)), edges.T), shape=(len(uv), len(uv))).tocsr()
    weights.data[:] = 1
    inner = np.ones(len(uv), bool)
    inner[loop] = False
    midline = (uv[:, 0] == 0.5) & ~inner
    unknown = (inner, inner | (midline & free[:, 1]))
    best, lowest = uv, np.inf
    for _ in range(_ROUNDS):
        # edges off the midline count twice: the other half has them too
        both = weights + sp.diags(midline.astype(float)) @ weights @ sp.diags((~midline).astype(float))
        laplacian = (sp.diags(np.asarray(both.sum(1)).ravel()) - both).tocsr()
        uv = uv.copy()
        for i, chosen in enumerate(unknown):
            rows = laplacian[chosen]
            uv[chosen, i] = spla.spsolve(rows[:, chosen].tocsc(), -rows[:, ~chosen] @ uv[~chosen, i])
        edges_f22 = np.stack([uv[triangles_f3[:, i]] - uv[triangles_f3[:, 0]] for i in (1, 2)], 2)
        if np.linalg.det(edges_f22).min() <= 0:
            break
        stretch_f = (np.linalg.inv(edges_f22 @ inverse_f22) ** 2).sum((1, 2)) / 2
        if (total := float((area_f * stretch_f).sum())) < lowest:
            best, lowest = uv, total
        around_v, mass_v = np.zeros(len(uv)), np.zeros(len(uv))
        for i in range(3):
            np.add.at(around_v, triangles_f3[:, i], area_f * stretch_f)
            np.add.at(mass_v, triangles_f3[:, i], area_f)
        weights = weights @ sp.diags((around_v / mass_v) ** -0.25)
    return best


def _rest(vertices_v3: Array, triangles_f3: Index, scale_f: Array) -> tuple[Array, Array]:
    """Inverse edge matrices (F 2 2) of the triangles in their planes at intended size, and their areas (F) there."""
    a, b, c = (vertices_v3[triangles_f3[:, i]] for i in range(3))
    x = np.linalg.norm(b - a, axis=1)
    u = (b - a) / x[:, None]
    cx = ((c - a) * u).sum(1)
    cy = np.linalg.norm(c - a - cx[:, None] * u, axis=1)
    edges = np.stack([np.stack([x, cx], 1), np.stack([np.zeros_like(x), cy], 1)], 1) * scale_f[:, None, None]
    area = np.linalg.det(edges) / 2
    total = np.sqrt(0.5 / area.sum())
    return np.linalg.inv(edges * total), area / area.sum() * 0.5


def _descend(uv: Array, vertices_v3: Array, triangles_f3: Index, free: npt.NDArray[np.bool_], scale_f: Array) -> Array:
    """Minimise by L-BFGS, preconditioned with the Laplacian of the intended metric; no step flips a triangle."""
    inverse_f22, area_f = _rest(vertices_v3, triangles_f3, scale_f)
    # triangles with a small intended size may be distorted more than those with a large one
    area_f = area_f * (scale_f / scale_f.max()) ** _YIELDING
    gradient_f23 = np.concatenate([-inverse_f22.sum(1, keepdims=True), inverse_f22], 1).transpose(0, 2, 1)
    rows = np.repeat(triangles_f3, 3, 1).ravel()
    columns = np.tile(triangles_f3, (1, 3)).ravel()
    stiffness = np.einsum("fij,fik,f->fjk", gradient_f23, gradient_f23, area_f).reshape(-1)
    laplacian = sp.coo_matrix((stiffness, (rows, columns)), shape=(len(uv), len(uv))).tocsr()
    laplacian += sp.identity(len(uv)) * 1e-8
    solvers = [spla.factorized(laplacian[free[:, i]][:, free[:, i]].tocsc()) for i in range(2)]

    def energy(uv: Array) -> tuple[float, Array]:
        jacobian = np.einsum("fic,fri->frc", uv[triangles_f3], gradient_f23).transpose(0, 2, 1)
        determinant = np.linalg.det(jacobian)
        if determinant.min() <= 0:
            return np.inf, np.zeros_like(uv)
        squared = (jacobian**2).sum((1, 2))
        value = float((area_f * squared * (1 + determinant**-2)).sum())
        cofactor = np.empty_like(jacobian)
        cofactor[:, 0, 0], cofactor[:, 0, 1] = jacobian[:, 1, 1], -jacobian[:, 1, 0]
        cofactor[:, 1, 0], cofactor[:, 1, 1] = -jacobian[:, 0, 1], jacobian[:, 0, 0]
        slope = 2 * jacobian * (1 + determinant**-2)[:, None, None]
        slope -= (2 * squared * determinant**-3)[:, None, None] * cofactor
        corners = np.einsum("fcr,fri,f->fic", slope, gradient_f23, area_f)
        total = np.zeros_like(uv)
        np.add.at(total, triangles_f3, corners)
        return value, np.where(free, total, 0)

    def precondition(slope: Array) -> Array:
        out = np.zeros_like(slope)
        for i in range(2):
            out[free[:, i], i] = solvers[i](slope[free[:, i], i])
        return out

    value, slope = energy(uv)
    if not np.isfinite(value):
        raise DataError(
            "the starting chart has a flipped triangle: a triangle has all corners on one edge of the square"
        )
    steps: list[tuple[Array, Array]] = []
    for _ in range(_ITERATIONS):
        direction, weights = slope.copy(), []
        for s, y in reversed(steps):
            weights.append((s * direction).sum() / (s * y).sum())
            direction -= weights[-1] * y
        direction = precondition(direction)
        for (s, y), weight in zip(steps, reversed(weights), strict=True):
            direction += s * (weight - (y * direction).sum() / (s * y).sum())
        descent, step = float((slope * direction).sum()), 1.0
        while True:
            after, slope_after = energy(uv - step * direction)
            if after <= value - 1e-4 * step * descent:
                break
            step /= 2
            if step < 1e-12:
                return uv
        moved, change = -step * direction, slope_after - slope
        if (moved * change).sum() > 1e-14:
            steps = [*steps, (moved, change)][-_MEMORY:]
        done = value - after < 1e-7 * value
        uv, value, slope = uv + moved, after, slope_after
        if done:
            break
    return uv


def _mirrored(
    uv: Array,
    inside_v: Index,
    half_f3: Index,
    middle: npt.NDArray[np.bool_],
    triangles_f3: Index,
    left: npt.NDArray[np.bool_],
    mirror_v: Index,
) -> tuple[Array, Index]:
    """Join both halves into one chart; midline vertices at u = 0.5 are shared, those along the cut are doubled."""
    shared = middle & (uv[:, 0] == 0.5)
    other = np.where(shared, np.arange(len(uv)), len(uv) + np.cumsum(~shared) - 1)
    uv_w2 = np.concatenate([uv, uv[~shared] * [-1, 1] + [1, 0]])
    local_v = np.full(len(mirror_v), -1)
    local_v[inside_v] = np.arange(len(inside_v))
    uv_triangles_f3 = np.empty_like(triangles_f3)
    uv_triangles_f3[left] = half_f3
    right_f3 = local_v[mirror_v[triangles_f3[~left]]]
    if (right_f3 < 0).any():
        raise DataError("the skin is not mirror-symmetric")
    uv_triangles_f3[~left] = other[right_f3]
    return uv_w2, uv_triangles_f3
