"""A photograph's bytes to the files of an avatar: reading, detection, reconstruction, encoding.

The Serve endpoint, the batch job and the command line all go through :class:`Reconstruction`.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from mosar.avatar import Avatar, encode, export, sheet
from mosar.avatar.render import render
from mosar.bundle import open_bundle
from mosar.datasets import crop, lights
from mosar.datasets.landmarks import Detector
from mosar.datasets.photographs import read_photograph
from mosar.datasets.skin_mask import skin_mask
from mosar.datasets.tiled_detection import find_faces
from mosar.errors import PhotographError
from mosar.models.reconstruct.reconstructor import Portrait, Reconstructor
from mosar.models.uv import chart

GLB, ZIP, PNG = "model/gltf-binary", "application/zip", "image/png"


class Reconstruction:
    """A loaded bundle and a face detector; a context manager, for the detector holds native resources."""

    def __init__(self, bundle: str, device: str = "cpu", refine_steps: int = 80) -> None:
        self.bundle = open_bundle(bundle, device)
        self.device = device
        self._reconstructor = Reconstructor(self.bundle.head, self.bundle.modules, refine_steps)
        self._detector = Detector()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._detector.close()

    def avatar(self, image_hw3: np.ndarray[Any, np.dtype[np.uint8]]) -> Avatar:
        """The avatar of the one face in an sRGB photograph.

        Raises:
            PhotographError: no face, or several.
        """
        faces = find_faces(self._detector, image_hw3)
        if len(faces) != 1:
            found = "no face was found" if not faces else f"{len(faces)} faces were found"
            raise PhotographError(f"{found}; give a photograph that shows exactly one face, not too small")
        return self._reconstructor(self._portrait(image_hw3, faces[0].landmarks[:, :2]))

    def files(self, data: bytes) -> dict[str, bytes]:
        """Every file of an avatar by its relative path, from the bytes of a photograph.

        Raises:
            PhotographError: not an image, too large or small, no face, or several.
        """
        image = read_photograph(data)
        avatar = self.avatar(image)
        head = self.bundle.head
        picture = render(head, avatar, avatar.camera, avatar.light_1lc, (avatar.height, avatar.width))
        shown = {n: torch.from_numpy(lights.light_sh(n)).to(self.device) for n in lights.HELD_OUT_LIGHTS}
        maps = encode.map_arrays(avatar.maps)
        extra = {n: getattr(head, f"{n}_albedo_hw3") for n in head.material_names[1:]}
        return {
            "avatar.json": json.dumps(self._facts(avatar), indent=1).encode(),
            "avatar.glb": export.glb(head, avatar),
            "mesh.obj": export.obj(head, avatar).encode(),
            "mesh.mtl": export.mtl(head).encode(),
            **{f"maps/{name}.png": encode.png(array) for name, array in (maps | extra).items()},
            "render.png": encode.png(sheet.over(picture, image)),
            "mask.png": encode.png(encode.unit8((picture.face_11hw > 0.5).float())),
            "sheet.png": encode.png(sheet.avatar_sheet(head, avatar, image, picture, shown)),
        }

    def respond(self, body: bytes, media_type: str) -> bytes:
        """The avatar as GLB, as a zip of every file (stored, for its parts are compressed), or its sheet as PNG."""
        files = self.files(body)
        if media_type == GLB:
            return files["avatar.glb"]
        return files["sheet.png"] if media_type == PNG else zipped(files)

    def health(self) -> Mapping[str, Any]:
        """Facts for ``GET /healthz``."""
        return {"bundle_digest": self.bundle.digest, "head_digest": self.bundle.head.digest}

    def _portrait(self, image_hw3: np.ndarray[Any, np.dtype[np.uint8]], points_n2: np.ndarray[Any, Any]) -> Portrait:
        size = self._reconstructor.crop_size
        to_crop = crop.face_crop(points_n2, size)
        inside = crop.warp(np.full(image_hw3.shape[:2], 255, np.uint8), to_crop, size, border=0)
        moved = crop.transform_points(points_n2, to_crop)
        skin = (skin_mask(moved, size, size) > 0) & (inside > 127)
        intrinsics = to_crop @ crop.assumed_intrinsics(points_n2, *image_hw3.shape[:2])
        tensor = self._tensor
        return Portrait(
            crop_13hw=tensor(crop.warp(image_hw3, to_crop, size) / 255.0).permute(0, 3, 1, 2),
            skin_11hw=torch.from_numpy(skin)[None, None].to(self.device),
            landmarks_1n2=tensor(moved),
            intrinsics_133=tensor(intrinsics),
            to_crop_133=tensor(to_crop),
            width=image_hw3.shape[1],
            height=image_hw3.shape[0],
        )

    def _tensor(self, array: np.ndarray[Any, Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32))[None].to(self.device)

    def _facts(self, avatar: Avatar) -> dict[str, Any]:
        def numbers(values: torch.Tensor, digits: int) -> Any:
            return np.round(values.double().cpu().numpy(), digits).tolist()

        points = [None if np.isnan(p).any() else p for p in np.round(avatar.landmarks_n2.cpu().numpy(), 3)]
        texels = avatar.maps.confidence
        confidence = texels[:, :, chart(self.bundle.head, texels.shape[-1]).triangle_hw >= 0]
        return {
            "photo": {"width": avatar.width, "height": avatar.height},
            "camera": {
                "intrinsics": numbers(avatar.camera.intrinsics_b33[0], 6),
                "rotation": numbers(avatar.camera.rotation_b33[0], 8),
                "translation_mm": numbers(avatar.camera.translation_b3[0], 5),
            },
            "light_sh": numbers(avatar.light_1lc[0], 6),
            "expression": dict(avatar.expression),
            "landmarks_px": [None if p is None else [float(x) for x in p] for p in points],
            "head_digest": self.bundle.head.digest,
            "bundle_digest": self.bundle.digest,
            "timings_s": {name: round(seconds, 4) for name, seconds in avatar.timings_s.items()},
            "confidence": {
                "seen": round(float((confidence == 1.0).float().mean()), 4),
                "mirrored": round(float((confidence == 0.5).float().mean()), 4),
                "inpainted": round(float((confidence == 0.0).float().mean()), 4),
            },
        }


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip with the files uncompressed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()
