"""Compare the speed of our renderer with pytorch3d: same head, cameras and image size, alternating on this machine.

Speed-ups are medians over rounds of wall-clock time; in each round pytorch3d runs once and ours several times. On a
busy machine, other processes slow long runs more than short ones: ``..._processor`` is the same in processor time. Both
see the same triangles, but shade differently: pytorch3d with its Phong model under one point light, ours with nine
bands, translucency, occlusion and prefiltered specular.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import trimesh
from torch import Tensor
from torch.nn.functional import normalize

from mosar.errors import ConfigError
from mosar.models.camera import Camera, position, pytorch3d_cameras
from mosar.models.head import load_head, vertex_normals
from mosar.models.rasterizer import covered, gather, rasterize, scatter
from mosar.models.shading import Material, shade


@dataclass(frozen=True)
class Config:
    """Attributes:

    size: side of the images, pixels.
    batch: images at once.
    rounds: rounds in which both run.
    repeats: runs of ours in each round.
    threads: threads of torch, for both; 0 keeps torch's default.
    """

    size: int = 224
    batch: int = 4
    rounds: int = 5
    repeats: int = 9
    threads: int = 0

    def __post_init__(self) -> None:
        if min(self.size, self.batch, self.rounds, self.repeats) < 1 or self.threads < 0:
            raise ConfigError(f"got {self}; expected size, batch, rounds, repeats of at least 1, threads of at least 0")


@dataclass(frozen=True)
class Scene:
    """A mesh (1, V, 3), its triangles, and one camera per image."""

    vertices_1v3: Tensor
    triangles_f3: Tensor
    camera: Camera
    size: tuple[int, int]

    def vertices(self, gradients: bool) -> Tensor:
        return self.vertices_1v3.repeat(len(self.camera), 1, 1).requires_grad_(gradients)


def run(config: Config) -> dict[str, Any]:
    """Return the metrics; ``ms`` in a name stands for milliseconds per image."""
    before = torch.get_num_threads()
    torch.set_num_threads(config.threads or before)
    try:
        return _run(config)
    finally:
        torch.set_num_threads(before)


def _run(config: Config) -> dict[str, Any]:
    head = load_head()
    vertices, triangles = torch.tensor(head.template_v3), torch.tensor(head.triangles_f3)
    scene = _scene(vertices, triangles, config.size, config.batch)
    finer = _scene(*_tenfold(vertices, triangles), config.size, config.batch)
    larger = _scene(vertices, triangles, 2 * config.size, config.batch)
    metrics: dict[str, Any] = {"faces": len(triangles), "threads": torch.get_num_threads()}
    for name, ours, theirs in (
        ("raster_speedup_fwd", _rasterized, _rasterized_by_pytorch3d),
        ("raster_speedup_fwd_bwd", _rasterized_back, _rasterized_back_by_pytorch3d),
        ("render_speedup_fwd_bwd", _rendered_back, _rendered_back_by_pytorch3d),
    ):
        ours(scene), theirs(scene)  # compile, warm up
        rounds = np.array(
            [(_times(theirs, scene, 1), _times(ours, scene, config.repeats)) for _ in range(config.rounds)]
        )
        wall, processor = np.median(rounds[:, 0] / rounds[:, 1], 0)
        slow, fast = np.median(rounds, 0)[:, 0] * 1e3 / config.batch
        metrics |= {name: float(wall), f"{name}_processor": float(processor)}
        metrics |= {name.replace("speedup", "ms"): float(fast), name.replace("speedup", "ms_pytorch3d"): float(slow)}
    metrics["fwd_bwd_ms_per_image"] = metrics["render_ms_fwd_bwd"]
    metrics["pixels_differing"] = float((_seen(scene) != _seen_by_pytorch3d(scene)).double().mean())
    for name, other in (("scaling_faces_10x", finer), ("scaling_pixels_4x", larger)):
        _rasterized_back(other)
        turns = [[_times(_rasterized_back, x, config.repeats)[0] for x in (scene, other)] for _ in range(config.rounds)]
        metrics[name] = float(np.median([slow / fast for fast, slow in turns]))
    return metrics


def _times(function: Callable[[Scene], object], scene: Scene, repeats: int) -> tuple[float, float]:
    """Median wall-clock and processor time of a call, seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        function(scene)
        times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    wall, processor = np.median(times, 0)
    return float(wall), float(processor)


def _scene(vertices_v3: Tensor, triangles_f3: Tensor, size: int, batch: int) -> Scene:
    """The head fills the image, seen from yaw angles between about -29 and 29 degrees."""
    angle = torch.linspace(-0.5, 0.5, batch) if batch > 1 else torch.zeros(1)
    zero, one = torch.zeros_like(angle), torch.ones_like(angle)
    turn = torch.stack([angle.cos(), zero, angle.sin(), zero, one, zero, -angle.sin(), zero, angle.cos()], -1)
    rotation = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ turn.view(-1, 3, 3)
    centre = vertices_v3.mean(0)
    shift = torch.tensor([0.0, 0.0, 900.0]) - rotation @ centre
    focal = size * 900.0 / 320.0
    k = torch.tensor([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]])
    return Scene(vertices_v3[None], triangles_f3, Camera(k.repeat(batch, 1, 1), rotation, shift), (size, size))


def _tenfold(vertices_v3: Tensor, triangles_f3: Tensor) -> tuple[Tensor, Tensor]:
    """The same surface with ten times as many triangles: all are quartered, then every second one again."""
    v, f = trimesh.remesh.subdivide(vertices_v3.numpy(), triangles_f3.numpy())
    v, f = trimesh.remesh.subdivide(v, f, np.arange(0, len(f), 2))
    return torch.tensor(v, dtype=torch.float32), torch.tensor(f)


def _rasterized(scene: Scene) -> object:
    return rasterize(scene.vertices(False), scene.triangles_f3, scene.camera, scene.size)


def _rasterized_back(scene: Scene) -> None:
    fragments = rasterize(scene.vertices(True), scene.triangles_f3, scene.camera, scene.size)
    fragments.bary_coords.sum().backward()


def _rendered_back(scene: Scene) -> None:
    """Render with all shading terms, with gradients for shape, colour and light."""
    vertices, triangles = scene.vertices(True), scene.triangles_f3
    values = torch.full((1, vertices.shape[1], 6), 0.5, requires_grad=True)
    light = torch.full((len(vertices), 81, 3), 0.02, requires_grad=True)
    pixels = covered(rasterize(vertices, triangles, scene.camera, scene.size), len(triangles))
    normals = vertex_normals(vertices, triangles)
    everything = gather(pixels, triangles, torch.cat([vertices, normals, values.expand(len(vertices), -1, -1)], -1))
    point, normal, diffuse, specular, ao, translucency = everything.split([3, 3, 3, 1, 1, 1], -1)
    view = normalize(position(scene.camera)[pixels.image_n] - point, dim=-1)
    material = Material(diffuse, specular, ao, translucency)
    colour = shade(material, normalize(normal, dim=-1), view, light, pixels.image_n)
    scatter(pixels, colour, (len(vertices), *scene.size)).square().mean().backward()


def _rasterizer(scene: Scene) -> Any:
    from pytorch3d.renderer import MeshRasterizer, RasterizationSettings

    settings = RasterizationSettings(image_size=scene.size, perspective_correct=True, cull_backfaces=True)
    return MeshRasterizer(pytorch3d_cameras(scene.camera, *scene.size), settings)


def _meshes(vertices_bv3: Tensor, triangles_f3: Tensor, textures: Any = None) -> Any:
    from pytorch3d.structures import Meshes

    return Meshes(vertices_bv3, triangles_f3.expand(len(vertices_bv3), -1, -1), textures)


def _rasterized_by_pytorch3d(scene: Scene) -> Any:
    return _rasterizer(scene)(_meshes(scene.vertices(False), scene.triangles_f3))


def _rasterized_back_by_pytorch3d(scene: Scene) -> None:
    _rasterizer(scene)(_meshes(scene.vertices(True), scene.triangles_f3)).bary_coords.sum().backward()


def _rendered_back_by_pytorch3d(scene: Scene) -> None:
    from pytorch3d.renderer import HardPhongShader, MeshRenderer, PointLights, TexturesVertex

    vertices = scene.vertices(True)
    colours = torch.full_like(vertices, 0.5).requires_grad_()
    lights = PointLights(location=((0.0, 300.0, 900.0),), diffuse_color=torch.full((1, 3), 0.6, requires_grad=True))
    shader = HardPhongShader(cameras=pytorch3d_cameras(scene.camera, *scene.size), lights=lights)
    renderer = MeshRenderer(_rasterizer(scene), shader)
    renderer(_meshes(vertices, scene.triangles_f3, TexturesVertex(colours))).square().mean().backward()


def _seen(scene: Scene) -> Tensor:
    fragments = rasterize(scene.vertices(False), scene.triangles_f3, scene.camera, scene.size)
    return fragments.pix_to_face


def _seen_by_pytorch3d(scene: Scene) -> Tensor:
    faces: Tensor = _rasterized_by_pytorch3d(scene).pix_to_face
    return faces
