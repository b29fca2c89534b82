"""From a photograph in any form to an avatar: the entry point that CLI, endpoint and library share."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, overload

import numpy as np
import numpy.typing as npt
import torch

from mosar.avatar import Avatar
from mosar.bundle import RELEASED, locate, open_bundle
from mosar.datasets.colour_check import grey, is_colourless
from mosar.datasets.crop import shift
from mosar.datasets.detection import scores
from mosar.datasets.face_search import LEAST_PX, find_faces, size_px
from mosar.datasets.focal_length import recorded_focal
from mosar.datasets.landmarks import Detector, Face
from mosar.datasets.photographs import read_photograph
from mosar.datasets.portrait import crop_portrait, without_borders
from mosar.datasets.upright import Upright, turn_upright
from mosar.errors import ConfigError, PhotographError
from mosar.models.camera import turn_image
from mosar.models.reconstruct import pipeline
from mosar.models.reconstruct.assumed_hues import with_assumed_hues
from mosar.models.reconstruct.cues import THUMBNAIL, thumbnail
from mosar.models.reconstruct.estimate import Estimate, Portrait
from mosar.models.reconstruct.seen import SIZES
from mosar.models.reconstruct.uncorrected import uncorrected
from mosar.models.stages.segmentation import released
from mosar.torch_threads import torch_threads

FaceChoice = Literal["only", "largest"] | int
MOST = 16
"""Photographs of one person in one call: all of them are in memory together."""
_BESIDE = 0.4
"""Faces smaller than this share of the largest are bystanders."""
Photograph = str | Path | bytes | npt.NDArray[np.uint8]
Photographs = list[Photograph] | list[str] | list[Path] | tuple[Photograph, ...]


def load(
    bundle: str = RELEASED,
    *,
    storage: str | None = None,
    device: str = "cpu",
    fit_steps: int = 8,
    threads: int | None = 1,
    size: int | None = None,
    fit_seconds: float | None = None,
) -> "Reconstructor":
    """Load a bundle.

    Args:
        bundle: a folder, a URI, or a name below ``bundles/`` of the storage root; by default the one that the program
            ships.
        storage: storage root; by default MOSAR_STORAGE, else ``~/.mosar``.
        device: ``"cpu"`` or ``"cuda"``.
        fit_steps: steps of the shape fit, 0 for none.
        threads: torch threads during a reconstruction; None keeps torch's setting. One is the fastest choice unless
            cores are idle: threads that wait for one another are slow on a busy machine.
        size: texels a side of albedo and normals: 512, 1024, 2048 or 4096; by default the smallest that holds the
            photograph's detail.
        fit_seconds: seconds after which the shape fit ends earlier, so that the result depends on how busy the machine
            is; the avatar's remarks say so. By default the fit takes all its steps.

    Raises:
        ConfigError: the device does not exist.
        BundleError: the bundle is missing, incomplete or altered, or was made by an incompatible version.
    """
    return Reconstructor(locate(bundle, storage), device, fit_steps, threads, size, fit_seconds)


class Reconstructor:
    """A loaded bundle and a face detector, whose native resources :meth:`close` releases; a context manager."""

    def __init__(
        self,
        location: str,
        device: str = "cpu",
        fit_steps: int = 8,
        threads: int | None = None,
        size: int | None = None,
        fit_seconds: float | None = None,
        texture_networks: bool = True,
    ) -> None:
        """Load a bundle.

        Args:
            location: folder or URI of the bundle.
            device, fit_steps, threads, size, fit_seconds: those of :func:`load`.
            texture_networks: whether networks correct the maps; without them the maps are what geometry and light tell.
        """
        _check_device(device)
        if size is not None and size not in SIZES:
            raise ConfigError(f"size: got {size}, expected one of {', '.join(map(str, SIZES))}, or none for automatic")
        if fit_seconds is not None and not fit_seconds > 0:
            raise ConfigError(f"fit_seconds: got {fit_seconds:g}, expected more than 0, or none for no limit")
        self._threads = threads
        self.bundle = open_bundle(location, device)
        self.device = device
        self._modules = dict(self.bundle.modules)
        if "segmentation" not in self._modules:
            self._modules["segmentation"] = released.load().to(device)
        if not texture_networks:
            self._modules = uncorrected(self._modules)
        self._settings = pipeline.settings(self._modules, fit_steps, size, fit_seconds)
        self._detector = Detector()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the detector."""
        self._detector.close()

    @overload
    def __call__(
        self, photograph: Photograph, face: FaceChoice = "only", progress: pipeline.Progress | None = None
    ) -> Avatar: ...
    @overload
    def __call__(
        self, photograph: Photographs, face: FaceChoice = "only", progress: pipeline.Progress | None = None
    ) -> tuple[Avatar, ...]: ...
    def __call__(
        self,
        photograph: Photograph | Photographs,
        face: FaceChoice = "only",
        progress: pipeline.Progress | None = None,
    ) -> Avatar | tuple[Avatar, ...]:
        """Reconstruct the face in a photograph, or one person in several photographs.

        Args:
            photograph: path of an image file, its bytes, or its sRGB pixels (h, w, 3) uint8. A list of photographs
                shows one person: the avatars, one for each, then share the neutral mesh and the tone of the skin.
            face: which of several faces: ``"only"`` refuses such photographs (unless all others are much smaller),
                ``"largest"``, or a number counted from the left, starting at 1.
            progress: is told of each step that begins: its name, how many are done, and how many there are.

        Raises:
            PhotographError: not an image, too large or small, no face, or several faces.
            ConfigError: ``face`` is none of the above, or the list is empty or longer than :data:`MOST`.
        """
        several = isinstance(photograph, list | tuple)
        photographs: Sequence[Photograph] = photograph if isinstance(photograph, list | tuple) else [photograph]
        if not 1 <= len(photographs) <= MOST:
            raise ConfigError(f"photographs of one person: got {len(photographs)}, expected 1 to {MOST}")
        with torch_threads(self._threads):
            found = self._reconstruct([self._prepared(each, face) for each in photographs], progress)
        return found if several else found[0]

    def look(self, photograph: Photograph, face: FaceChoice = "only") -> Estimate:
        """Shape, camera and light of a face, and the photograph on the chart: what the texture stages start from.

        Raises:
            PhotographError, ConfigError: as in :meth:`__call__`.
        """
        with torch_threads(self._threads):
            portrait = self._prepared(photograph, face).portrait
            return pipeline.look(self.bundle.head, self._modules, portrait, self._settings)

    def _prepared(self, photograph: Photograph, face: FaceChoice) -> "_Prepared":
        image, focal_px = _read(photograph)
        name = f"{photograph}: " if isinstance(photograph, str | Path) else ""
        chosen, remarks = _chosen(find_faces(self._detector, image), face, name)
        scene, corner = without_borders(image)
        upright = turn_upright(scene, chosen.landmarks[:, :2] - corner)
        colourless = is_colourless(crop_portrait(upright.image_hw3, upright.landmarks_n2, 128).image_hw3)
        if colourless:
            upright = replace(upright, image_hw3=grey(upright.image_hw3))
            remarks += ("the photograph has no colours: the hues of skin and light are assumed",)
        portrait = self._portrait(chosen, upright, scene, colourless, focal_px)
        return _Prepared(image, shift(corner) @ np.linalg.inv(upright.turn_33), upright.image_hw3, portrait, remarks)

    def _reconstruct(self, given: Sequence["_Prepared"], progress: pipeline.Progress | None) -> tuple[Avatar, ...]:
        portraits = [each.portrait for each in given]
        estimates = pipeline.reconstruct(self.bundle.head, self._modules, portraits, self._settings, progress)
        return tuple(self._avatar(each, estimate, len(given)) for each, estimate in zip(given, estimates, strict=True))

    def _avatar(self, given: "_Prepared", estimate: Estimate, photographs: int) -> Avatar:
        remarks = given.remarks
        if photographs > 1:
            remarks += (f"identity and tone were found from {photographs} photographs together",)
        if estimate.fit.ended_early:
            remarks += (f"the shape fit was ended after {self._settings.fit_seconds:g} s, before all its steps",)
        if given.portrait.colourless:
            estimate = with_assumed_hues(estimate)
        avatar = Avatar.of(estimate, given.upright_hw3, self.bundle.digest)
        return replace(
            avatar,
            camera=turn_image(avatar.camera, self._tensor(given.to_photograph_33)[0]),
            width=given.image_hw3.shape[1],
            height=given.image_hw3.shape[0],
            photograph_hw3=given.image_hw3,
            remarks=remarks,
        )

    def _portrait(
        self,
        face: Face,
        upright: Upright,
        scene_hw3: npt.NDArray[np.uint8],
        colourless: bool,
        focal_px: float | None,
    ) -> Portrait:
        image_hw3 = upright.image_hw3
        crop_size = self._settings.crop_size
        crop = crop_portrait(image_hw3, upright.landmarks_n2, crop_size, upright.corners_42, focal_px)
        scale = float(np.hypot(*crop.to_crop_33[0, :2]))
        points = np.concatenate([crop.landmarks_n2, scale * face.landmarks[:, 2:]], axis=1)
        return Portrait(
            photograph_hw3=torch.from_numpy(np.ascontiguousarray(image_hw3)).to(self.device),
            thumbnail_13tt=thumbnail(torch.from_numpy(scene_hw3), THUMBNAIL).to(self.device),
            inside_11hw=self._tensor(crop.inside_hw)[None],
            colourless=colourless,
            focal_known=crop.focal_known,
            crop_13hw=self._tensor(crop.image_hw3 / 255.0).permute(0, 3, 1, 2),
            points_1n3=self._tensor(points),
            scores_1e=self._tensor(scores(face)),
            intrinsics_133=self._tensor(crop.intrinsics_33),
            to_crop_133=self._tensor(crop.to_crop_33),
            width=image_hw3.shape[1],
            height=image_hw3.shape[0],
        )

    def _tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32))[None].to(self.device)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """A photograph, the map from its upright pixels to its own, the upright photograph, and what is known of it."""

    image_hw3: npt.NDArray[np.uint8]
    to_photograph_33: npt.NDArray[np.float64]
    upright_hw3: npt.NDArray[np.uint8]
    portrait: Portrait
    remarks: tuple[str, ...]


def _check_device(device: str) -> None:
    if device not in {"cpu", "cuda"}:
        raise ConfigError(f"device: got {device!r}, expected cpu or cuda")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device: got cuda, but torch finds no GPU that it can use on this machine; use cpu")


def _chosen(faces: list[Face], choice: FaceChoice, name: str) -> tuple[Face, tuple[str, ...]]:
    """The chosen one of the faces, which are sorted from left to right, and what a user should know of the choice."""
    if not (choice in {"only", "largest"} or (isinstance(choice, int) and choice >= 1)):
        raise ConfigError(f"face: got {choice!r}, expected only, largest, or a number from 1, counted from the left")
    if not faces:
        raise PhotographError(
            f"{name}no face was found; give a photograph that shows one face, whole and at least {LEAST_PX} pixels high"
        )
    largest = max(faces, key=size_px)
    if isinstance(choice, int):
        if choice > len(faces):
            raise PhotographError(f"{name}face: got {choice}, but the photograph shows {len(faces)} faces")
        return faces[choice - 1], ()
    others = [face for face in faces if face is not largest]
    rivals = [face for face in others if size_px(face) >= _BESIDE * size_px(largest)]
    if rivals and choice == "only":
        raise PhotographError(
            f"{name}{len(faces)} faces were found, from left to right {', '.join(map(_place, faces))}; give a "
            "photograph of one person, or choose: --face largest, or --face and the number counted from the left"
        )
    if not others:
        return largest, ()
    return largest, (f"other faces were ignored: {', '.join(map(_place, others))}",)


def _place(face: Face) -> str:
    x, y = face.landmarks[:, :2].mean(0)
    return f"{size_px(face):.0f} pixels high at ({x:.0f}, {y:.0f})"


def _read(photograph: Photograph) -> tuple[npt.NDArray[np.uint8], float | None]:
    """Pixels of a photograph, and the focal length in pixels, if its camera recorded it."""
    if isinstance(photograph, np.ndarray):
        if photograph.dtype != np.uint8 or photograph.ndim != 3 or photograph.shape[2] != 3:
            got = f"{photograph.dtype} of shape {photograph.shape}"
            raise PhotographError(f"got an array of {got}, expected sRGB pixels (h, w, 3) uint8")
        return photograph, None
    if isinstance(photograph, bytes):
        return read_photograph(photograph), recorded_focal(photograph)
    try:
        content = Path(photograph).read_bytes()
    except OSError as error:
        raise PhotographError(f"{photograph}: {error.strerror}; give an image file") from error
    try:
        return read_photograph(content), recorded_focal(content)
    except PhotographError as error:
        raise PhotographError(f"{photograph}: {error}") from error
