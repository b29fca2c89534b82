"""Reads the face model of ICT-FaceKit (USC Institute for Creative Technologies, MIT licence), packed as one ``.npz``.

Arrays: ``v`` (26719 3) cm, ``f`` (F 4) quads whose last corner is -1 for triangles, ``id_q`` (100 26719 3) int16 with
``id_s`` (100): identity modes ``id_q * id_s`` in cm at one standard deviation; ``ex_q``, ``ex_s``, ``ex_names``:
expressions at weight one. Vertex ranges are those of the kit's README.
"""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mosar.datasets.head_building.scans import Scans
from mosar.errors import DataError

_VERTICES = 26719
_SKIN = 11248  # face, head and neck
_PARTS = {
    "upper_teeth": (17039, 19247),
    "lower_teeth": (19247, 21451),
    "left_eye": (21451, 23021),
    "right_eye": (23021, 24591),
}
_MM = 10.0
_LARGEST = 1 << 28  # bytes of an array that is read


def read_ict(path: Path) -> Scans:
    """Read the packed model.

    Raises:
        DataError: the file is missing, is not such a file, or its arrays do not fit together.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: _small(path, name, stored[name]) for name in stored.files}
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; expected an .npz with the ICT-FaceKit model") from error
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path}: not an .npz without pickle ({error})") from error
    missing = [n for n in ("v", "f", "id_q", "id_s", "ex_q", "ex_s", "ex_names") if n not in arrays]
    if missing:
        raise DataError(f"{path}: array {missing[0]!r} is missing; expected the ICT-FaceKit model as docs/head.md says")
    if arrays["v"].shape != (_VERTICES, 3):
        raise DataError(f"{path}: v has shape {arrays['v'].shape}, expected ({_VERTICES}, 3)")
    quads_q4 = arrays["f"].astype(np.int64)
    triangles_f3 = np.concatenate([quads_q4[:, :3], quads_q4[quads_q4[:, 3] >= 0][:, [0, 2, 3]]])
    names = [str(name) for name in arrays["ex_names"]]
    return Scans(
        name="ICT-FaceKit",
        mean_v3=arrays["v"].astype(np.float64) * _MM,
        skin_f3=triangles_f3[(triangles_f3 < _SKIN).all(1)],
        all_f3=triangles_f3,
        modes_mv3=_offsets(arrays["id_q"], arrays["id_s"]),
        expressions=dict(zip(names, _offsets(arrays["ex_q"], arrays["ex_s"]), strict=True)),
        parts={name: np.arange(*ends) for name, ends in _PARTS.items()},
    )


def _offsets(quantised: npt.NDArray[Any], scale: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    return np.asarray(quantised.astype(np.float32) * (scale[:, None, None] * _MM), np.float32)


def _small(path: Path, name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if array.nbytes > _LARGEST:
        raise DataError(f"{path}: array {name!r} has {array.nbytes} bytes, expected at most {_LARGEST}")
    return array
