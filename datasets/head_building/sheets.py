"""Contact sheets to judge a head by eye: people, expressions, chart, checkerboard, landmarks on renders."""

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from mosar.datasets.head_building import landmark_embedding
from mosar.datasets.png import png
from mosar.models.camera import project
from mosar.models.head import Head, landmarks, sample_identity, shape

Picture = npt.NDArray[np.uint8]

_CHART = 1024
_CHECKS = 32


def head_sheets(head: Head, views: landmark_embedding.LandmarkViews) -> dict[str, bytes]:
    """The contact sheets as PNG files, by name."""
    return {
        "people": png(_sheet(people(head, 12), 4)),
        "expressions": png(_sheet(expressions(head), 8)),
        "chart": png(chart(head)),
        "checkerboard": png(_sheet(checkerboard(head), 3)),
        "landmarks": png(_sheet(landmark_renders(head, views, 8), 4)),
    }


def people(head: Head, count: int, seed: int = 7) -> list[Picture]:
    """Randomly sampled neutral people from alternating sides."""
    generator = torch.Generator().manual_seed(seed)
    pictures = []
    for i in range(count):
        person = sample_identity(head, generator)
        vertices = shape(
            head, person.archetype_a[None], person.mode_m[None], torch.zeros(1, len(head.expression_names))
        )
        pictures.append(
            landmark_embedding.render_grey_view(
                head, vertices, landmark_embedding.view(head, (0.0, 0.5, -0.5)[i % 3], 0.0)
            )
        )
    return pictures


def expressions(head: Head, people: int = 8, seed: int = 3) -> list[Picture]:
    """Every expression at full weight, each on one of a few people."""
    generator = torch.Generator().manual_seed(seed)
    faces = [sample_identity(head, generator) for _ in range(people)]
    pictures = []
    for i, name in enumerate(head.expression_names):
        person = faces[i % people]
        weights = torch.zeros(1, len(head.expression_names))
        weights[0, i] = 1
        if name == "mouthClose" and "jawOpen" in head.expression_names:
            weights[0, head.expression_names.index("jawOpen")] = 1
        vertices = shape(head, person.archetype_a[None], person.mode_m[None], weights)
        side = 0.35 if name.endswith("Left") else -0.35 if name.endswith("Right") else 0.0
        picture = Image.fromarray(
            landmark_embedding.render_grey_view(head, vertices, landmark_embedding.view(head, side, 0.0))[
                40:300, 62:322
            ]
        )
        ImageDraw.Draw(picture).text((4, 2), name, fill=(255, 255, 255))
        pictures.append(np.asarray(picture))
    return pictures


def chart(head: Head) -> Picture:
    """The skin's triangles in the chart, coloured by region."""
    picture = Image.new("RGB", (_CHART, _CHART), "white")
    pen, colours = ImageDraw.Draw(picture), _region_colours(head)
    for triangle, places in zip(head.triangles_f3, head.uv_triangles_f3, strict=True):
        if triangle[0] in colours:
            corners = [(float(u) * _CHART, float(1 - v) * _CHART) for u, v in head.uv_w2[places]]
            # majority colour, independent of the corners' order, so that mirror images look alike
            of_corners = sorted(colours[v] for v in triangle.tolist())
            pen.polygon(corners, fill=max(of_corners, key=of_corners.count), outline=(0, 0, 0))
    return np.asarray(picture)


def checkerboard(head: Head) -> list[Picture]:
    """A checkerboard in the chart, drawn on the head from three sides."""
    y, x = np.mgrid[0:_CHART, 0:_CHART] * _CHECKS // _CHART
    board = np.where(((x + y) % 2)[..., None] > 0, [230, 226, 220], [70, 110, 150]).astype(np.uint8)
    vertices = torch.from_numpy(np.array(head.template_v3))[None]
    return [
        landmark_embedding.render_grey_view(head, vertices, landmark_embedding.view(head, yaw, 0.0), skin_hw3=board)
        for yaw in (0.0, 0.7, -1.4)
    ]


def landmark_renders(head: Head, views: landmark_embedding.LandmarkViews, count: int) -> list[Picture]:
    """The detected points (red) and the embedded points (green) on renders."""
    points_bl2 = project(views.camera, landmarks(head, views.vertices_bv3)).numpy()
    pictures = []
    for image, seen_l2, points_l2 in zip(views.images_bhw3[:count], views.points_bl2, points_bl2, strict=False):
        picture = Image.fromarray(image)
        pen = ImageDraw.Draw(picture)
        for (x, y), (u, v), triangle in zip(seen_l2, points_l2, head.landmark_triangle_l, strict=True):
            pen.ellipse([x - 1, y - 1, x + 1, y + 1], fill=(255, 0, 0))
            if triangle >= 0:
                pen.ellipse([u - 1, v - 1, u + 1, v + 1], fill=(0, 255, 0))
        pictures.append(np.asarray(picture))
    return pictures


def _region_colours(head: Head) -> dict[int, tuple[int, int, int]]:
    """Colour of each skin vertex; later regions override earlier ones."""
    colours = {int(v): (255, 255, 255) for v in np.unique(head.triangles_f3[head.material_f == 0])}
    for name, colour in {
        "scalp": (200, 200, 200), "neck": (230, 230, 180), "face": (255, 230, 210), "cheek": (220, 240, 200),
        "forehead": (220, 220, 250), "nose": (255, 200, 160), "mouth": (240, 190, 190), "lips": (220, 90, 90),
        "eyes": (120, 120, 255), "brows": (120, 80, 40), "ears": (150, 220, 150), "interior": (90, 90, 90),
    }.items():  # fmt: skip
        colours |= {int(v): colour for v in np.nonzero(head.region(name))[0] if int(v) in colours}
    return colours


def _sheet(pictures: list[Picture], columns: int) -> Picture:
    blank = np.zeros_like(pictures[0])
    padded = pictures + [blank] * (-len(pictures) % columns)
    return np.concatenate([np.concatenate(padded[i : i + columns], 1) for i in range(0, len(padded), columns)])
