"""Compare a trained morphable model with PCA of as many coefficients, on faces of held-out people.

PCA is fitted to vertices of the face only, on people drawn like the training people of the model. Held-out people are
subjects of the virtual light stage's other splits. Errors are mm, means over the vertices of the face and over people:

``vae_mm``, ``pca_mm``: meshes with expressions, reconstructed from their own codes. ``swap_mm``: the identity code of
one person decoded with the expression code of another, against the first person with the other's expression.
``vae_prior_mm``, ``pca_prior_mm``: the most likely mesh given one photograph, that is some of the landmarks that face a
camera up to 40 degrees aside, with noise and without depth. PCA uses the full joint Gaussian of its coefficients, the
model a mixture of Gaussians of its codes. Both are fitted to the same people and use the true noise; the weight of the
prior is tuned on validation people. ``..._scan_...``: the same given as many landmarks anywhere, in three dimensions.
``residual_share_mm``: how far the non-linear part of the decoder moves vertices.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mosar.errors import ConfigError
from mosar.jobs import stages
from mosar.models.head import Head, load_head
from mosar.models.head.expression_model import express
from mosar.models.head.expression_sampling import sample_expression
from mosar.models.head.morph import neutral
from mosar.models.morphable import pretrained
from mosar.models.morphable.fitting import Faces, Gaussian, LandmarkObservations, MapEstimator, photograph, scan
from mosar.models.morphable.mixture import Mixture
from mosar.models.morphable.network import Morphable
from mosar.models.morphable.pca import Pca
from mosar.models.morphable.synthetic_people import sample_people
from mosar.models.stages.morphable.stage import POOL_SEED
from mosar.platform import storage

_VALIDATION, _TEST = 10**7, 2 * 10**7
"""First seeds of the virtual light stage's subjects of those splits (``jobs/sources/virtual.py``)."""
_WEIGHTS = (0.3, 0.5, 0.7, 1.0, 1.4, 2.0)
_CHUNK = 200


@dataclass(frozen=True)
class Config:
    """Attributes:

    weights: name of a finished run of stage morphable; by default the shipped model.
    head: head file to use instead of the default; the run must be trained on it.
    training: number of people to which PCA is fitted.
    people: number of people to which both priors are fitted.
    components: components of each mixture, one for identity and one for expression.
    validation, test: number of held-out people of each split.
    noise_mm: standard deviation of the noise of a landmark's coordinates.
    landmarks: number of observed landmarks of the face, chosen anew for each person.
    storage: root of the runs; default: MOSAR_STORAGE, else ~/.mosar.
    """

    weights: str | None = None
    head: str | None = None
    training: int = 8192
    people: int = 32768
    components: int = 16
    validation: int = 120
    test: int = 300
    noise_mm: float = 2.0
    landmarks: int = 68
    storage: str | None = None

    def __post_init__(self) -> None:
        counts = (self.components, self.validation, self.test, self.landmarks)
        if min(self.training, self.people) < 256 or min(counts) < 1 or self.noise_mm <= 0:
            raise ConfigError(
                f"got training {self.training}, people {self.people}, components {self.components}, validation "
                f"{self.validation}, test {self.test}, landmarks {self.landmarks}, noise_mm {self.noise_mm}; "
                "expected at least 256, 256, 1, 1, 1, 1, and noise_mm above 0"
            )


@dataclass(frozen=True)
class Subjects:
    """Held-out people: neutral meshes, meshes with expressions, and the next person with each expression."""

    neutral_nv3: Tensor
    mesh_nv3: Tensor
    swapped_nv3: Tensor


@torch.no_grad()
def evaluate(config: Config) -> dict[str, Any]:
    """Return the metrics by name; see the module docstring."""
    head = load_head(config.head)
    model = model_of(config.weights, config.storage, head)
    faces = Faces(head)
    pca = Pca.fit(training(head, faces, config.training), (model.config.identity_codes, model.config.expression_codes))
    validation = _subjects(head, _VALIDATION, config.validation)
    test = _subjects(head, _TEST, config.test)
    truth = faces.of(test.mesh_nv3)

    codes = _codes(model, test)
    recovered, swapped = (
        _chunked(lambda s, e: model.decode(s, e, faces.vertices_f), *pair)
        for pair in (codes, (codes[0].roll(-1, 0), codes[1]))
    )
    linear = _chunked(lambda s, e: faces.of(model.decode_linear(s, e)), *codes)
    metrics = {
        "vae_mm": _distance(recovered, truth),
        "pca_mm": _distance(pca.meshes(pca.coefficients(faces.of(test.neutral_nv3), truth)), truth),
        "swap_mm": _distance(swapped, faces.of(test.swapped_nv3)),
        "residual_share_mm": _distance(recovered, linear),
        "vae_identity_mm": _distance(
            _chunked(lambda s: model.decode(s, model.neutral_code().expand(len(s), -1), faces.vertices_f), codes[0]),
            faces.of(test.neutral_nv3),
        ),
        "pca_identity_mm": _distance(
            pca.meshes(pca.coefficients(faces.of(test.neutral_nv3), faces.of(test.neutral_nv3))),
            faces.of(test.neutral_nv3),
        ),
    }
    mixture, gaussian = _priors(model, pca, faces, head, config)
    found: dict[str, Callable[[LandmarkObservations, float], Tensor]] = {
        "vae": MapEstimator(model, faces, mixture),
        "pca": lambda o, w: pca.most_likely(faces, o, gaussian, w),
    }
    for kind, observe in (("prior", photograph), ("scan_prior", scan)):
        tuning, seen = (
            observe(faces, faces.of(s.mesh_nv3), config.landmarks, config.noise_mm, seed)
            for seed, s in enumerate((validation, test))
        )
        for name, recover in found.items():
            weight = _tuned(recover, tuning, faces.of(validation.mesh_nv3))
            metrics[f"{name}_{kind}_weight"] = weight
            metrics[f"{name}_{kind}_mm"] = _distance(recover(seen, weight), truth)
    return metrics | {
        "vae_over_pca": metrics["vae_mm"] / metrics["pca_mm"],
        "vae_prior_over_pca_prior": metrics["vae_prior_mm"] / metrics["pca_prior_mm"],
        "vae_scan_prior_over_pca_scan_prior": metrics["vae_scan_prior_mm"] / metrics["pca_scan_prior_mm"],
        "swap_over_vae": metrics["swap_mm"] / metrics["vae_mm"],
    }


def model_of(weights: str | None, root: str | None, head: Head) -> Morphable:
    """The shipped model, or that of a finished run.

    Raises:
        ConfigError: the run is of another stage or head.
    """
    if weights is None:
        return pretrained.load(head)
    stage, module = stages.trained(storage.join(storage.root(root), "runs", weights))
    if not isinstance(module, Morphable) or getattr(stage, "head").digest != head.digest:  # noqa: B009
        raise ConfigError(f"weights: {weights} is not a run of stage morphable on the head {head.name}")
    return module.requires_grad_(False)


def training(head: Head, faces: Faces, count: int) -> tuple[Tensor, Tensor]:
    """Neutral meshes, and the offsets that expressions add to them, on the face (n, f, 3)."""
    neutrals, offsets = [], []
    for some in sample_people(head, count, POOL_SEED):
        neutrals.append(faces.of(some.neutral_nv3))
        offsets.append(faces.of(some.meshes()) - neutrals[-1])
    return torch.cat(neutrals), torch.cat(offsets)


def _subjects(head: Head, first: int, count: int) -> Subjects:
    from mosar.datasets.virtual_stage.subjects import sample_subject

    people = [sample_subject(head, seed) for seed in range(first, first + count)]
    archetype, mode = (torch.from_numpy(np.stack([getattr(p, n) for p in people])) for n in ("archetype_a", "mode_m"))
    weights = np.stack([sample_expression(head, np.random.default_rng(p.seed)) for p in people])
    rest, expression = neutral(head, archetype, mode), torch.from_numpy(weights)

    def posed(people_nv3: Tensor) -> Tensor:
        return _chunked(lambda n, e: express(head, n, e), people_nv3, expression)

    return Subjects(rest, posed(rest), posed(rest.roll(-1, 0)))


def _codes(model: Morphable, subjects: Subjects) -> tuple[Tensor, Tensor]:
    (identity, _), (expression, _) = model.encode(subjects.neutral_nv3, subjects.mesh_nv3)
    return identity, expression


def _priors(model: Morphable, pca: Pca, faces: Faces, head: Head, config: Config) -> tuple[Mixture, Gaussian]:
    """Fit priors of the model's codes, sampled from its encoder, and of PCA's coefficients, to training-like people."""
    generator = torch.Generator().manual_seed(0)
    codes: tuple[list[Tensor], ...] = ([], [])
    coefficients = []
    for some in sample_people(head, config.people, POOL_SEED):
        meshes = some.meshes()
        coefficients.append(pca.coefficients(faces.of(some.neutral_nv3), faces.of(meshes)))
        for drawn, (mean, log_variance) in zip(codes, model.encode(some.neutral_nv3, meshes), strict=True):
            drawn.append(mean + torch.randn(mean.shape, generator=generator) * (0.5 * log_variance).exp())
    identity, expression = (Mixture.of(torch.cat(drawn), config.components) for drawn in codes)
    return identity.beside(expression), Gaussian.of(torch.cat(coefficients))


def _tuned(
    recover: Callable[[LandmarkObservations, float], Tensor], observed: LandmarkObservations, truth_nf3: Tensor
) -> float:
    errors = [_distance(recover(observed, weight), truth_nf3) for weight in _WEIGHTS]
    return _WEIGHTS[int(np.argmin(errors))]


def _distance(found_nf3: Tensor, truth_nf3: Tensor) -> float:
    return float((found_nf3 - truth_nf3).norm(dim=-1).mean())


def _chunked(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Apply ``function`` to chunks of samples: meshes of all people at once would need too much memory."""

    def parts() -> Iterator[Tensor]:
        for some in zip(*(x.split(_CHUNK) for x in inputs), strict=True):
            yield function(*some)

    return torch.cat(list(parts()))
