"""Stage ``segmentation``: trains on captures of the virtual light stage, whose class of every pixel is known."""

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, one_hot

from mosar.errors import ConfigError
from mosar.models.face_classes import CLASSES, SKIN, share
from mosar.models.head import Head
from mosar.models.losses import total
from mosar.models.stages.preview import rows
from mosar.models.stages.segmentation.augmentation import fade, photometric, swap_backgrounds
from mosar.models.stages.segmentation.config import Config
from mosar.models.stages.segmentation.network import LEAST, Segmentation
from mosar.models.stages.spec import StreamSpec

Batch = Mapping[str, Mapping[str, Tensor]]
UNKNOWN = 255
"""Number of pixels whose class is not known: they are left out."""
GROUPS = {"skin": SKIN, "hair": ("scalp_hair",), "glasses": ("glasses",), "background": ("background",)}
"""Classes whose overlap with the truth is measured together."""
_COLOURS = (
    (0, 0, 0), (230, 180, 150), (200, 60, 80), (120, 0, 30), (255, 255, 255), (120, 80, 40), (90, 60, 20),
    (60, 40, 160), (0, 220, 220), (200, 0, 200), (240, 140, 0), (60, 120, 60),
)  # fmt: skip


class Stage:
    """Crops come with the points that the detector found in them, as in inference."""

    name = "segmentation"
    requires: tuple[str, ...] = ()

    def __init__(self, config: Config, head: Head) -> None:
        self.config = config
        fields = ("image", "classes", "landmarks", "detected", "found")
        self.streams = {"lightstage": StreamSpec(1.0, fields, crop_size=config.crop_size, augment=True)}

    def build(self, parents: Mapping[str, nn.Module]) -> Segmentation:
        module = Segmentation(self.config)
        module.network.requires_grad_(not self.config.eyes_alone)
        return module

    @torch.no_grad()
    def fit_statistics(self, module: nn.Module, batches: Iterable[Batch]) -> None:
        if self.config.eyes_alone:  # statistics are fitted where no weights are given
            raise ConfigError("model.eyes_alone: expected with warm_start, or the first network would stay untrained")
        module = cast(Segmentation, module)
        total_1khw, count = torch.zeros_like(module.frequency_1khw), torch.zeros_like(module.frequency_1khw[:, :1])
        for batch in batches:
            known, labels = _labels(batch["lightstage"]["classes"])
            spread = one_hot(labels, len(CLASSES)).permute(0, 3, 1, 2) * known[:, None]
            total_1khw += _small(spread.sum(dim=0, keepdim=True), total_1khw)
            count += _small(known.sum(dim=0)[None, None], count)
        module.frequency_1khw.copy_((total_1khw + LEAST) / (count + LEAST * len(CLASSES)))

    def losses(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        sample = batch["lightstage"]
        image = sample["image"] / 255.0
        background = (sample["classes"] == CLASSES.index("background")).to(image)
        image = swap_backgrounds(image, background, self.config.swapped, generator)
        frames = (sample["classes"] == CLASSES.index("glasses")).to(image)
        image = fade(image, frames, self.config.faded, generator)
        image = photometric(image, self.config.strength, generator)
        module = cast(Segmentation, module)
        return self._objective(module(image, points_of(sample)), sample["classes"], module.frequency_1khw)

    @torch.no_grad()
    def metrics(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        sample = batch["lightstage"]
        module = cast(Segmentation, module)
        logits = module(sample["image"] / 255.0, points_of(sample))
        losses = self._objective(logits, sample["classes"], module.frequency_1khw)
        return losses | {"loss": total(losses)} | self._overlaps(logits, sample["classes"])

    @torch.no_grad()
    def baseline(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """How often each class was found at each place in training."""
        classes = batch["lightstage"]["classes"]
        module = cast(Segmentation, module)
        logits = module.usual().expand(len(classes), -1, -1, -1)
        return total(self._objective(logits, classes, module.frequency_1khw))

    @torch.no_grad()
    def preview(self, module: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
        """Four captures across; down: the crop, its classes as predicted, the truth."""
        sample = batch["lightstage"]
        found = cast(Segmentation, module)(sample["image"] / 255.0, points_of(sample)).argmax(dim=1)
        return rows(sample["image"] / 255.0, coloured(found), coloured(_labels(sample["classes"])[1]))

    def _objective(self, logits_bkhw: Tensor, classes_b1hw: Tensor, frequency_1khw: Tensor) -> dict[str, Tensor]:
        known, labels = _labels(classes_b1hw)
        target = torch.where(known, labels, UNKNOWN)
        # Rare classes weigh more, or thin frames would hardly be learnt. Weights make a network answer with
        # probabilities times weights; their logarithms are added here, so the logits themselves stay unbiased.
        weight_k = frequency_1khw.mean(dim=(0, 2, 3)).clamp_min(LEAST) ** -self.config.rare_weight
        weighted = logits_bkhw + weight_k.log()[:, None, None]
        entropy = cross_entropy(weighted, target, weight_k, ignore_index=UNKNOWN)
        return {"entropy": entropy, "overlap": self.config.overlap_weight * _overlap_loss(logits_bkhw, labels, known)}

    def _overlaps(self, logits_bkhw: Tensor, classes_b1hw: Tensor) -> dict[str, Tensor]:
        """Intersection over union of groups of classes, over the batch; 1 where a group is in neither."""
        known, labels = _labels(classes_b1hw)
        spread = one_hot(logits_bkhw.argmax(dim=1), len(CLASSES)), one_hot(labels, len(CLASSES))
        found, truth = (x.permute(0, 3, 1, 2) * known[:, None] for x in spread)
        overlaps = {}
        for name, group in GROUPS.items():
            a, b = share(found, *group) > 0, share(truth, *group) > 0
            overlaps[f"iou_{name}"] = ((a & b).sum() + 1) / ((a | b).sum() + 1)
        return overlaps


def points_of(sample: Mapping[str, Tensor]) -> Tensor:
    """The detector's points (b, 478, 2), pixels of the crop; the true ones where it found no face."""
    found = sample["found"].reshape(-1, 1, 1) > 0.5
    return torch.where(found, sample["detected"][..., :2], sample["landmarks"][..., :2])


def coloured(labels_bhw: Tensor) -> Tensor:
    """Classes drawn in colours (b, 3, h, w), in [0, 1]."""
    table = torch.tensor(_COLOURS, device=labels_bhw.device) / 255.0
    return table[labels_bhw].permute(0, 3, 1, 2)


def _labels(classes_b1hw: Tensor) -> tuple[Tensor, Tensor]:
    """Which pixels are known, and their class (b, h, w), 0 where unknown."""
    known = classes_b1hw[:, 0] < len(CLASSES)
    return known, torch.where(known, classes_b1hw[:, 0].long(), 0)


def _small(counts_1khw: Tensor, like: Tensor) -> Tensor:
    return interpolate(counts_1khw.float(), size=like.shape[-2:], mode="area")


def _overlap_loss(logits_bkhw: Tensor, labels_bhw: Tensor, known_bhw: Tensor) -> Tensor:
    """1 - soft Dice coefficient, mean over the classes that the batch holds."""
    truth = one_hot(labels_bhw, len(CLASSES)).permute(0, 3, 1, 2) * known_bhw[:, None]
    found = logits_bkhw.softmax(dim=1) * known_bhw[:, None]
    both, either = (found * truth).sum(dim=(0, 2, 3)), (found + truth).sum(dim=(0, 2, 3))
    present = truth.sum(dim=(0, 2, 3)) > 0
    dice = (2 * both + 1) / (either + 1)
    return ((1 - dice) * present).sum() / present.sum().clamp_min(1)
