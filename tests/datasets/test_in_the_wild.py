import io

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from mosar.datasets import schema
from mosar.datasets.in_the_wild import in_the_wild_sample
from mosar.datasets.landmarks import Detector
from mosar.datasets.quality import Quality
from mosar.datasets.skin_mask import skin_mask
from mosar.errors import PhotographError
from mosar.models.head.expressions import NAMES


@pytest.fixture(scope="module")
def detector():
    with Detector() as found:
        yield found


@pytest.fixture(scope="module")
def portrait():
    return astronaut()[:256, 80:380]


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_astronaut_becomes_a_valid_sample(detector, portrait):
    sample = in_the_wild_sample(png(portrait), detector, 128)
    assert Quality(**sample["capture"]["quality"]).flags == ()
    sample["capture"] |= {"subject": "astronaut", "split": "train"}
    schema.validate(schema.encode(sample), "wild")
    assert 0.08 < (sample["mask"] > 0).mean() < 0.5
    assert sample["blendshapes"].max() > 0.3  # she smiles
    assert sample["blendshapes"][NAMES.index("mouthSmileLeft")] > 0.3
    again = sample["detected"][:, :2] - sample["landmarks"][:, :2]
    assert np.median(np.linalg.norm(again, axis=1)) < 1.5  # px: seen in the whole photograph, and in the crop
    assert sample["detected"][1, 2] < sample["detected"][234, 2]  # the nose is nearer than the ear
    skin = sample["image"][sample["mask"] > 0].mean(0)
    assert skin[0] > skin[1] > skin[2]
    eye = np.round(sample["landmarks"][[33, 133, 159, 145], :2].mean(0)).astype(int)
    assert sample["mask"][eye[1], eye[0]] == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda image: np.full_like(image, 127), "no face"),
        (lambda image: np.concatenate([image, image[:, ::-1]], 1), "several faces"),
        (lambda image: np.asarray(Image.fromarray(image).resize((90, 76))), "too small|no face"),
    ],
)
def test_refused_photographs_have_a_reason(detector, portrait, make, message):
    with pytest.raises(PhotographError, match=message):
        in_the_wild_sample(png(make(portrait)), detector, 128)


def test_skin_is_the_face_without_eyes_and_open_mouth():
    angles = np.linspace(0, 2 * np.pi, 36, endpoint=False)
    points = np.full((478, 2), 50.0)
    from mosar.datasets import skin_mask as lists

    points[list(lists.OVAL)] = 50 + 40 * np.stack([np.sin(angles), -np.cos(angles)], -1)
    for outline, centre in ((lists.LEFT_EYE, (62, 40)), (lists.RIGHT_EYE, (38, 40)), (lists.MOUTH, (50, 68))):
        around = np.linspace(0, 2 * np.pi, len(outline), endpoint=False)
        points[list(outline)] = centre + 6 * np.stack([np.cos(around), np.sin(around)], -1)
    mask = skin_mask(points, 100, 100)
    expected = np.pi * (40**2 - 3 * 6**2)
    assert abs((mask > 0).sum() - expected) < 0.05 * expected
    assert mask[40, 62] == mask[40, 38] == mask[68, 50] == mask[2, 2] == 0
    assert mask[50, 50] == 255
