"""Maps of the skin, painted from chromophores on the template.

Skin starts from the subject's tone, given along the principal axes of measured facial reflectance. Maps of melanin and
blood vary it, and the result is kept inside the measured range. Moles, lips and hair are painted over it. All colours
are linear diffuse albedo.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mosar.datasets.schema import CLASSES
from mosar.datasets.virtual_stage.noise import cells, creases, fractal_noise, gradient_noise, pits, spots
from mosar.datasets.virtual_stage.subjects import SURFACE, TONE_AXES, TONE_MEAN, Subject, skin_tone
from mosar.datasets.virtual_stage.uv_regions import Atlas, Values, at, eye_level, smoothstep
from mosar.models.colour import LUMINANCE
from mosar.models.head.occlusion import let_through

RANGE = np.array([[0.113, 0.066, 0.050], [0.540, 0.351, 0.272]])
"""Measured 1 and 99 % quantiles of facial reflectance, linear sRGB, specular included (ISSA, Lu et al. 2025)."""

MELANIN = np.array([0.44, 0.57, 0.69])
"""Absorption by a local excess of melanin (freckles, spots), in log albedo: the slope of eumelanin through skin."""
BLOOD = np.array([0.13, 0.80, 0.58])
"""Absorption by a local excess of blood, in log albedo: little in red, most in green."""


@dataclass(frozen=True, eq=False)
class PaintedSkin:
    """Maps on the n texels of an atlas: diffuse albedo (n, 3) linear, specular, relief height in mm.

    ``bare_n``: share (0 to 1) of plain skin: neither lip, mole, hair nor the inside of a pocket. ``hair_n``: coverage
    by painted hair; ``scalp_n``: coverage by painted scalp hair alone. ``classes_n``: numbers in
    :data:`mosar.datasets.schema.CLASSES` of the bare head.
    """

    diffuse_n3: NDArray[np.float32]
    specular_n: Values
    height_n: Values
    bare_n: Values
    hair_n: Values
    scalp_n: Values
    classes_n: NDArray[np.uint8]


def paint(a: Atlas, subject: Subject) -> PaintedSkin:
    """Paint the skin of a person; every map size shows the same features."""
    melanin, blood, moles = _chromophores(a, subject)
    log = TONE_MEAN + subject.tone @ TONE_AXES - melanin[:, None] * MELANIN - blood[:, None] * BLOOD
    diffuse = np.exp(_within(log)) - SURFACE
    diffuse = _mix(diffuse, diffuse * np.array([0.42, 0.30, 0.28]), np.clip(1.2 * moles, 0, 1))
    lips = a.areas["lips"] * (0.75 + 0.25 * fractal_noise(a.position_n3, 4, 2, subject.seed + 31, a.texel_n))
    diffuse = _mix(diffuse, _lip_colour(a, subject, diffuse), np.clip(lips, 0, 1))
    diffuse = _mix(diffuse, diffuse * np.array([0.75, 0.38, 0.36]), 0.8 * a.areas["pocket"])
    lashes = 0.75 * a.areas["lashes"] * (1 - a.areas["pocket"])
    diffuse = _mix(diffuse, np.broadcast_to(0.25 * subject.hair + 0.006, diffuse.shape), lashes)
    hair, scalp, classes = _hair_cover(a, subject)
    strands = 1 + 0.5 * gradient_noise(a.position_n3 * [1, 0.35, 1], 2.2, subject.seed + 41, a.texel_n)
    colour = subject.hair * (1 - 0.45 * np.clip(a.areas["brows"], 0, 1))[:, None]
    diffuse = _mix(diffuse, colour * strands[:, None], hair)
    bare = (1 - smoothstep(0.02, 0.3, a.areas["lips"])) * (1 - smoothstep(0.02, 0.2, hair))
    bare = (
        bare
        * (1 - smoothstep(0.02, 0.2, moles))
        * (1 - smoothstep(0.02, 0.2, lashes))
        * (1 - smoothstep(0.02, 0.5, a.areas["pocket"]))
    )
    return PaintedSkin(
        diffuse_n3=np.clip(diffuse, 0.002, 0.95).astype(np.float32),
        specular_n=_specular(a, subject, hair),
        height_n=_relief(a, subject, hair, moles),
        bare_n=bare.astype(np.float32),
        hair_n=hair,
        scalp_n=scalp,
        classes_n=classes,
    )


def tangent_normals(a: Atlas, height_n: Values, position_hw3: NDArray[np.floating]) -> NDArray[np.float32]:
    """Tangent-space normals (H, W, 3), x along +u, y along +v, of a relief (mm) on a surface.

    ``position_hw3``: surface points of the texels in mm, from which texel sizes follow; zero outside the chart.
    """
    height = np.asarray(a.map(height_n), np.float64)
    along_u = np.linalg.norm(np.gradient(position_hw3, axis=1), axis=-1)
    along_v = np.linalg.norm(np.gradient(position_hw3, axis=0), axis=-1)
    least = min(0.2, 205 / a.size)  # mm: smaller than any texel on a face at any map size
    slope_u = np.gradient(height, axis=1) / np.clip(along_u, least, 10)
    slope_v = -np.gradient(height, axis=0) / np.clip(along_v, least, 10)  # rows run down, v up
    inside = np.zeros(a.size**2, bool)
    inside[a.inside_n] = True
    torn = ~inside.reshape(a.size, a.size) | (along_u > 10) | (along_v > 10)
    normal = np.stack([-slope_u, -slope_v, np.ones_like(height)], -1)
    normal[torn] = (0, 0, 1)
    normal[..., :2] = np.clip(normal[..., :2], -1.0, 1.0)
    return (normal / np.linalg.norm(normal, axis=-1, keepdims=True)).astype(np.float32)


def translucency(a: Atlas, thickness_n: Values) -> Values:
    """Translucency (n) in [0, 1] from the thickness (mm) below a texel; lips, lids, nostrils and nose get more."""
    soft = 0.25 * a.areas["lips"] + 0.12 * a.areas["eyelids"] + 0.2 * a.areas["nostrils"] + 0.1 * a.areas["nose"]
    return np.clip(0.22 + let_through(thickness_n) + soft, 0, 1).astype(np.float32)


def _chromophores(a: Atlas, subject: Subject) -> tuple[Values, Values, Values]:
    """Excess of melanin and of blood, in units of log absorption, and moles in [0, 1]; each (n)."""
    p, t, area, s = a.position_n3, subject.traits, a.areas, subject.seed
    dark = float(np.clip((subject.tone[0] + 0.6) / 2, 0, 1))
    uneven = fractal_noise(p, 60, 4, s + 1, a.texel_n) * (0.12 + 0.12 * t["tan_uneven"])
    grain = fractal_noise(p, 5, 3, s + 2, a.texel_n) * 0.08
    freckle_area = np.clip(area["nose"] + area["cheeks"] + 0.45 * area["forehead"] + 0.12 * area["front"], 0, 1)
    freckles = spots(p, 4.5, (0.6, 1.5), 0.75 * t["freckles"] * freckle_area, s + 3, a.texel_n)
    age_spots = spots(
        p, 16, (1.5, 4.5), 0.55 * t["age_spots"] * (0.3 + area["forehead"] + area["cheeks"]), s + 4, a.texel_n
    )
    ring = np.clip(area["under_eyes"] + 0.35 * area["eyelids"], 0, 1)
    melanin = (
        uneven + grain
        + 0.14 * area["forehead"] * dark + 0.10 * area["neck"]
        + (0.10 + 0.22 * dark) * t["dark_circles"] * ring
        + 0.10 * dark * np.clip(area["moustache"] + 0.6 * area["chin"], 0, 1) - 0.12 * dark * area["cheeks"]
        + 0.38 * freckles + 0.30 * age_spots
    )  # fmt: skip
    blotches = smoothstep(0.05, 0.5, fractal_noise(p, 26, 3, s + 5, a.texel_n)) * 0.09 * t["blotches"]
    pimples = spots(p, 14, (0.8, 2.2), 0.12 * t["blotches"], s + 6, a.texel_n) * 0.22
    mottled = fractal_noise(p, 11, 3, s + 7, a.texel_n) * 0.08
    flush = t["blush"] * (0.16 * area["cheeks"] + 0.14 * area["nose"] + 0.05 * area["chin"] + 0.10 * area["ears"])
    blood = (
        blotches + pimples + mottled + flush + 0.07 * area["eyelids"] + 0.06 * t["dark_circles"] * area["under_eyes"]
    )
    blood = blood + 0.12 * area["nostrils"] - 0.04 * area["forehead"]
    moles = spots(p, 22, (0.7, 2.2), 0.16 * t["moles"], s + 8, a.texel_n)
    return melanin.astype(np.float32), (blood * (1 - 0.45 * dark)).astype(np.float32), moles


def _within(log_n3: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compress log reflectance smoothly into the measured range, so that no skin lies outside it."""
    low, high = np.log(RANGE[0]) + 0.02, np.log(RANGE[1]) - 0.02
    knee = 0.18
    over = np.maximum(log_n3 - (high - knee), 0)
    under = np.maximum(low + knee - log_n3, 0)
    return log_n3 - over + knee * np.tanh(over / knee) + under - knee * np.tanh(under / knee)


def _lip_colour(a: Atlas, subject: Subject, skin_n3: NDArray[np.float64]) -> NDArray[np.float64]:
    t = subject.traits
    folds = 1 + 0.10 * gradient_noise(a.position_n3 * [1, 0.25, 0.5], 2.0, subject.seed + 32, a.texel_n)
    natural = skin_n3 * (np.array([0.93, 0.66, 0.72]) ** (0.6 + 0.9 * t["lips_red"]))
    if not t["lipstick"]:
        return natural * folds[:, None]
    rng = np.random.default_rng(subject.seed + 33)
    shade = np.array([[0.42, 0.035, 0.05], [0.45, 0.13, 0.14], [0.30, 0.03, 0.07], [0.50, 0.20, 0.19]])[rng.integers(4)]
    return (
        _mix(natural, np.broadcast_to(shade, natural.shape), np.full(len(natural), 0.75 * t["lipstick"]))
        * folds[:, None]
    )


def _hair_cover(a: Atlas, subject: Subject) -> tuple[Values, Values, NDArray[np.uint8]]:
    """Coverage (n) of the skin by painted hair (scalp, brows, stubble, beard), by scalp hair alone, and the classes.

    Stubble counts as skin.
    """
    p, t, area, s = a.position_n3, subject.traits, a.areas, subject.seed
    fine = 0.5 + 0.9 * gradient_noise(p * [1, 0.4, 1], 2.5, s + 21, a.texel_n)
    line = area["hairline"] - 26 * t["receding"] * smoothstep(60, 15, np.abs(p[:, 0])) * smoothstep(-40, 10, p[:, 2])
    ragged = line + 9 * gradient_noise(p, 14, s + 22, a.texel_n) + 5 * gradient_noise(p, 4, s + 23, a.texel_n)
    scalp = smoothstep(-4, 9, ragged) * (1 - area["ears"])
    scalp = scalp * {"bald": 0.12, "shaved": 0.72}.get(subject.style, 0.97)
    if subject.style == "bald":  # a wreath of hair remains
        scalp = np.maximum(scalp, 0.75 * scalp / 0.12 * smoothstep(62, 40, p[:, 1]))
    brows = np.clip(area["brows"] * t["brows"] * (0.85 + 0.6 * fine), 0, 1) * 0.95
    shadow = np.maximum(area["beard"], area["moustache"]) * (0.55 + 0.3 * fine) * 0.36 * t["stubble"]
    rough = smoothstep(0.25, 0.75, np.maximum(area["beard"] * t["beard"], 0) + 0.25 * (fine - 0.5))
    grown = np.maximum(
        rough * (t["beard"] > 0), smoothstep(0.2, 0.7, area["moustache"] * t["moustache"] + 0.2 * (fine - 0.5))
    )
    grown = grown * (t["moustache"] > 0) * (0.72 + 0.25 * fine)
    cover = np.max([scalp, brows, shadow, grown], 0) * (1 - area["pocket"]) * (1 - area["lips"])
    classes = np.full(len(p), CLASSES.index("skin"), np.uint8)
    for name, share in (("brows", brows), ("facial_hair", grown), ("scalp_hair", scalp)):
        classes[share > 0.4] = CLASSES.index(name)
    classes[area["lips"] > 0.5] = CLASSES.index("lips")
    pocket, eye = area["pocket"] > 0.5, eye_level(a)
    classes[pocket & (np.abs(p[:, 1] - eye[1]) < 20)] = CLASSES.index("eyes")
    classes[pocket & (p[:, 1] < eye[1] - 45) & (np.abs(p[:, 0]) < 35)] = CLASSES.index("mouth")
    cover, scalp = (np.clip(x, 0, 0.97).astype(np.float32) for x in (cover, scalp))
    return cover, scalp, classes


def _specular(a: Atlas, subject: Subject, hair: Values) -> Values:
    """The specular map (n); reflectance at normal incidence is 0.08 times it."""
    area, t = a.areas, subject.traits
    pores = cells(a.position_n3, 1.6, subject.seed + 51, a.texel_n) - 0.5
    oily = 0.10 * t["oil"] * (area["nose"] + 0.6 * area["forehead"] + 0.4 * area["chin"])
    broad = 0.05 * fractal_noise(a.position_n3, 30, 3, subject.seed + 52, a.texel_n)
    wet = 0.12 * area["lips"] + 0.25 * area["pocket"] - 0.06 * area["under_eyes"]
    value = 0.24 + oily + broad + wet + 0.20 * pores * t["pores"]
    return np.clip(value * (1 - 0.8 * hair), 0.05, 0.95).astype(np.float32)


def _relief(a: Atlas, subject: Subject, hair: Values, moles: Values) -> Values:
    """Height (n) over the mesh in mm: pores, fine grain, wrinkles, lip folds, moles, hair."""
    p, t, area, s = a.position_n3, subject.traits, a.areas, subject.seed
    where = np.clip(0.35 + area["cheeks"] + area["nose"] + 0.5 * area["forehead"] + 0.4 * area["chin"], 0, 1.2)
    pores = -0.05 * t["pores"] * where * pits(p, 1.5, s + 61, a.texel_n)
    grain = 0.05 * fractal_noise(p, 3.5, 3, s + 62, a.texel_n) + 0.10 * fractal_noise(p, 12, 2, s + 63, a.texel_n)
    lips = 0.12 * area["lips"] * gradient_noise(p * [1, 0.2, 0.3], 1.8, s + 64, a.texel_n)
    fuzz = 0.35 * hair * gradient_noise(p * [1, 0.35, 1], 2.5, s + 65, a.texel_n)
    lines = _wrinkles(a, subject) * (0.04 + 0.8 * t["wrinkles"])
    bumps = 0.35 * moles
    return ((pores + grain + lips + lines) * (1 - 0.6 * hair) + fuzz + bumps).astype(np.float32)


def _wrinkles(a: Atlas, subject: Subject) -> Values:
    """Creases (n), negative, scaled to mm by the caller: on the forehead, beside and below the eyes, nose to mouth."""
    p, area, s, marks = a.position_n3, a.areas, subject.seed, a.points_l3
    bend = 7.0 * gradient_noise(p, 45, s + 71) + 2.5 * gradient_noise(p, 15, s + 72)
    rows = (
        creases((p[:, 1] + bend) * 2 * np.pi / 9.5, 9.5, a.texel_n)
        * area["forehead"]
        * smoothstep(52, 35, np.abs(p[:, 0]))
    )
    rows = rows * smoothstep(-0.15, 0.3, gradient_noise(p * at(0.6, 1.6, 1), 26, s + 73))
    feet = np.zeros(len(p), np.float32)
    for corner, sign in ((marks[263], 1.0), (marks[33], -1.0)):
        if not np.isnan(corner[0]):
            out, up = sign * (p[:, 0] - corner[0]), p[:, 1] - corner[1]
            angle = np.arctan2(up, np.maximum(out, 0.1))
            far = np.hypot(out, up)
            fan = creases(angle * 9 + 0.4 * bend, far * 2 * np.pi / 9, a.texel_n)
            fan = fan * smoothstep(2, 7, out) * smoothstep(26, 12, far)
            feet = np.maximum(feet, fan * smoothstep(1.0, 0.6, np.abs(angle)))
    bags = creases((p[:, 1] + 0.5 * bend) * 2 * np.pi / 5, 5, a.texel_n) * area["under_eyes"] * 0.5
    folds = _folds(a, bend)
    return (-(0.45 * rows + 0.35 * feet + 0.22 * bags) - 0.8 * folds).astype(np.float32)


def expression_relief(a: Atlas, subject: Subject, weights: Mapping[str, float]) -> Values:
    """Height (n), mm, that an expression adds: folds beside a smiling mouth, lines on a raised or knit forehead."""

    def both(name: str) -> float:
        return 0.5 * (weights.get(f"{name}Left", 0.0) + weights.get(f"{name}Right", 0.0))

    p, s = a.position_n3, subject.seed
    age = 0.4 + 0.6 * float(np.clip((subject.age - 12) / 50, 0, 1))
    bend = 7.0 * gradient_noise(p, 45, s + 71) + 2.5 * gradient_noise(p, 15, s + 72)
    height = -1.2 * age * max(both("mouthSmile"), both("noseSneer"), both("mouthDimple")) * _folds(a, 0.4 * bend)
    raised = max(weights.get("browInnerUp", 0.0), both("browOuterUp"))
    if raised > 0.05:
        rows = creases((p[:, 1] + bend) * 2 * np.pi / 9.5, 9.5, a.texel_n) * a.areas["forehead"]
        height = height - 0.5 * age * raised * rows * smoothstep(52, 35, np.abs(p[:, 0]))
    return np.asarray(height, np.float32)


def _folds(a: Atlas, bend: NDArray[np.floating]) -> Values:
    """The nasolabial folds (n), in [0, 1]: from the wings of the nose past the corners of the mouth."""
    p, marks = a.position_n3, a.points_l3
    found = np.zeros(len(p), np.float32)
    for wing, corner in ((marks[358], marks[291]), (marks[129], marks[61])):
        if np.isnan(wing[0]) or np.isnan(corner[0]):
            continue
        side = np.sign(corner[0])
        start, end = wing + at(side * 4, 2, 0), corner + at(side * 11, -4, 0)
        way = (end - start)[:2]
        along = np.clip((p[:, :2] - start[:2]) @ way / (way @ way), 0, 1)
        bow = side * 4 * np.sin(along * np.pi)
        off = p[:, :2] - start[:2] - along[:, None] * way - np.stack([bow, 0 * bow], -1) + 0.3 * bend[:, None]
        found = np.maximum(
            found, np.exp(-((np.linalg.norm(off, axis=-1) / 2.2) ** 2)) * np.sin(np.pi * (0.08 + 0.84 * along))
        )
    return found * a.areas["front"]


def _mix(a_n3: NDArray[np.floating], b_n3: NDArray[np.floating], weight_n: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(a_n3 + (b_n3 - a_n3) * np.asarray(weight_n)[:, None])


def brightness(subject: Subject) -> float:
    """Luminance of the person's mean diffuse albedo."""
    return float(np.clip(skin_tone(subject.tone), 0.01, 1) @ LUMINANCE)


def cavity(a: Atlas, height_n: Values) -> Values:
    """The fine part of ambient occlusion (n): 1 on flat skin, down to 0.4 in pits and creases of the relief."""
    import cv2

    height = np.asarray(a.map(height_n), np.float64)
    pit = cv2.GaussianBlur(height, (0, 0), max(1.0, a.size / 170)) - height
    return np.clip(1 - 1.6 * np.maximum(pit, 0), 0.4, 1).ravel()[a.inside_n].astype(np.float32)
