"""What an actor holds: the bundle's reconstructor, a detector, the judges if there are any, and the references."""

import time
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from mosar.avatar import Avatar
from mosar.datasets.face_search import find_faces
from mosar.datasets.landmarks import Detector
from mosar.errors import PhotographError
from mosar.jobs.evaluation.avatar import shape
from mosar.jobs.evaluation.avatar.appearance import References
from mosar.jobs.evaluation.avatar.prior import Prior, load_prior
from mosar.models.head import Head
from mosar.models.stages.intrinsics.network import SCALARS, IntrinsicsNetwork
from mosar.models.stages.normals.network import Normals, unit_normals
from mosar.reconstructor import Reconstructor


@dataclass(frozen=True, eq=False)
class Result:
    """Avatar of a photograph, the detector's points in it (478, 2), pixels, and the seconds it took; or the failure."""

    avatar: Avatar | None
    points_n2: NDArray[np.float32]
    seconds: float
    failure: str = ""


class Bench:
    """One bundle, ready to reconstruct. ``location``: of the bundle."""

    def __init__(self, location: str) -> None:
        torch.set_num_threads(1)
        self._reconstructor = Reconstructor(location)
        self._location = location
        self._detector = Detector()

    def close(self) -> None:
        """Close the detectors."""
        self._reconstructor.close()
        if "_without_networks" in vars(self):
            self._without_networks.close()
        self._detector.close()

    @property
    def head(self) -> Head:
        return self._reconstructor.bundle.head

    @cached_property
    def prior(self) -> Prior:
        return load_prior(self.head)

    @cached_property
    def average_v3(self) -> NDArray[np.float64]:
        """The average head, mm."""
        return shape.array(self.prior.neutral_1v3)

    @cached_property
    def references(self) -> References:
        """The average albedo of the released prior, and the mean maps of the bundle's training."""
        modules = self._reconstructor.bundle.modules
        intrinsics, normals = cast(IntrinsicsNetwork, modules["intrinsics"]), cast(Normals, modules["normals"])
        means = intrinsics.mean_scalars_13hw.split(1, dim=1)
        return References(
            self.prior.albedo_13hw, unit_normals(normals.basis.mean_1chw), dict(zip(SCALARS, means, strict=True))
        )

    def detect(self, image_hw3: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """The detector's points (478, 2), pixels; None unless it finds exactly one face."""
        faces = find_faces(self._detector, image_hw3)
        return faces[0].landmarks[:, :2] if len(faces) == 1 else None

    @cached_property
    def _without_networks(self) -> Reconstructor:
        return Reconstructor(self._location, texture_networks=False)

    def without_networks(self, image_hw3: NDArray[np.uint8]) -> Avatar:
        """The avatar of a photograph that has one, whose maps no network corrected."""
        with torch.enable_grad():
            return self._without_networks(image_hw3)

    def reconstruct(self, image_hw3: NDArray[np.uint8]) -> Result:
        """The avatar of a photograph, or why there is none."""
        began = time.perf_counter()
        try:
            with torch.enable_grad():  # measures run without gradients, the fit needs them
                avatar = self._reconstructor(image_hw3)
        except PhotographError as error:
            return Result(None, np.zeros((478, 2), np.float32), 0.0, str(error).partition(";")[0])
        seconds = time.perf_counter() - began
        points = self.detect(image_hw3)
        assert points is not None, "the same detector found exactly one face before"
        return Result(avatar, points, seconds)
