"""The head file: reads, checks and writes one compressed ``.npz`` without pickle.

Offsets are stored as 16-bit fixed point (1/200 mm): they are sparse, and the sources are quantised more coarsely.
"""

import dataclasses
import functools
import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mosar.errors import DataError
from mosar.models.face_outlines import LANDMARKS

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
ByteArray = npt.NDArray[np.uint8]

REALY_KEYPOINTS = (33, 133, 362, 263, 2, 61, 291)
"""Landmarks by which REALY aligns a face: corners of the right and the left eye, foot of the nose, mouth corners."""
DEFAULT_PATH = Path(__file__).parent / "data" / "scanned.npz"
MAKEHUMAN_PATH = Path(__file__).parent / "data" / "makehuman.npz"
"""The head on whose topology the default one was registered."""
ICT_LICENCE_PATH = Path(__file__).parent / "data" / "LICENSE.ict"
"""Licence of ICT-FaceKit, from whose scans the default head's shapes are derived."""
_STEP_MM = 1 / 200
_OFFSETS = ("archetypes_av3", "modes_mv3", "expressions_ev3")
_OPTIONAL = ("lash_triangle_h", "lash_barycentric_h3", "lash_offset_hk3")
_NAMES = ("material_names", "archetype_names", "mode_names", "expression_names", "region_names", "part_names")


@dataclasses.dataclass(frozen=True, eq=False)
class Head:
    """One head topology; millimetres in the head frame (+x the subject's left, +y up, +z out of the face).

    Material 0 is ``skin``; each material has its own chart. ``uv_triangles_f3`` gives the ``uv_w2`` index of every
    triangle corner, in the chart of the triangle's material. ``digest`` is the sha256 of the file.
    The ``lash_*`` arrays are empty for a head without lashes: see :mod:`mosar.models.head.lashes`.
    """

    name: str
    digest: str
    template_v3: FloatArray
    triangles_f3: IntArray
    material_f: IntArray
    material_names: tuple[str, ...]
    uv_w2: FloatArray
    uv_triangles_f3: IntArray
    eyes_albedo_hw3: ByteArray
    mouth_albedo_hw3: ByteArray
    archetype_names: tuple[str, ...]
    archetypes_av3: FloatArray
    mode_names: tuple[str, ...]
    mode_std_m: FloatArray
    modes_mv3: FloatArray
    expression_names: tuple[str, ...]
    expressions_ev3: FloatArray
    landmark_triangle_l: IntArray
    landmark_barycentric_l3: FloatArray
    landmark_weight_l: FloatArray
    region_names: tuple[str, ...]
    regions_rv: BoolArray
    mirror_v: IntArray
    part_names: tuple[str, ...]
    part_v: IntArray
    lash_triangle_h: IntArray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))
    lash_barycentric_h3: FloatArray = dataclasses.field(default_factory=lambda: np.zeros((0, 3), np.float32))
    lash_offset_hk3: FloatArray = dataclasses.field(default_factory=lambda: np.zeros((0, 2, 3), np.float32))

    def region(self, name: str) -> BoolArray:
        """Vertices (V bool) of one named region."""
        if name not in self.region_names:
            raise ValueError(f"got region {name!r}; expected one of {', '.join(self.region_names)}")
        return self.regions_rv[self.region_names.index(name)]


def load_head(path: str | Path | None = None) -> Head:
    """Load the head stored at ``path``, by default the one beside this code. It is cached; its arrays are read-only.

    Raises:
        DataError: the file is missing, is not a head file, or its arrays do not fit together.
    """
    return _load(Path(path or DEFAULT_PATH).resolve())


@functools.lru_cache(maxsize=8)
def _load(path: Path) -> Head:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"head file {path}: {error.strerror}; expected an .npz made by jobs/make_head.py") from error
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except (ValueError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise DataError(f"head file {path}: not a head file ({error}); make one with jobs/make_head.py") from error
    values: dict[str, Any] = {"digest": hashlib.sha256(content).hexdigest()}
    for field in dataclasses.fields(Head):
        if field.name == "digest":
            continue
        if field.name not in arrays and field.name in _OPTIONAL:
            continue
        if field.name not in arrays:
            raise DataError(f"head file {path}: array {field.name!r} is missing; build it again with jobs/make_head.py")
        values[field.name] = _decode(field.name, arrays[field.name])
    head = Head(**values)
    try:
        check(head)
    except DataError as error:
        raise DataError(f"head file {path}: {error}") from error
    return head


def head_bytes(fields: Mapping[str, Any]) -> bytes:
    """A head file with the fields of :class:`Head` (all but ``digest``, which is the sha256 of these bytes).

    The same fields give the same bytes. The lash arrays may be left out.

    Raises:
        DataError: a field is missing or the arrays do not fit together.
    """
    missing = [f.name for f in dataclasses.fields(Head) if f.name not in {*fields, *_OPTIONAL, "digest"}]
    if missing:
        raise DataError(f"head: field {missing[0]!r} is missing")
    check(Head(digest="", **fields))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for field in sorted(set(fields)):
            entry = zipfile.ZipInfo(f"{field}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            member = io.BytesIO()
            np.lib.format.write_array(member, _encode(field, fields[field]), allow_pickle=False)
            archive.writestr(entry, member.getvalue(), compresslevel=9)
    return buffer.getvalue()


def check(head: Head) -> None:
    """Raise :class:`~mosar.errors.DataError` if the arrays of ``head`` do not fit together."""
    v, f, w = len(head.template_v3), len(head.triangles_f3), len(head.uv_w2)
    shapes = {
        "template_v3": (v, 3),
        "triangles_f3": (f, 3),
        "material_f": (f,),
        "uv_w2": (w, 2),
        "uv_triangles_f3": (f, 3),
        "archetypes_av3": (len(head.archetype_names), v, 3),
        "mode_std_m": (len(head.mode_names),),
        "modes_mv3": (len(head.mode_names), v, 3),
        "expressions_ev3": (len(head.expression_names), v, 3),
        "landmark_triangle_l": (LANDMARKS,),
        "landmark_barycentric_l3": (LANDMARKS, 3),
        "landmark_weight_l": (LANDMARKS,),
        "regions_rv": (len(head.region_names), v),
        "mirror_v": (v,),
        "part_v": (v,),
        "lash_triangle_h": (len(head.lash_triangle_h),),
        "lash_barycentric_h3": (len(head.lash_triangle_h), 3),
        "lash_offset_hk3": (len(head.lash_triangle_h), *head.lash_offset_hk3.shape[1:2], 3),
    }
    for name, shape in shapes.items():
        if getattr(head, name).shape != shape:
            raise DataError(f"{name} has shape {getattr(head, name).shape}, expected {shape}")
        if not np.isfinite(getattr(head, name)).all():
            raise DataError(f"{name} holds a value that is not finite")
    limits = {
        "triangles_f3": (0, v),
        "uv_triangles_f3": (0, w),
        "material_f": (0, len(head.material_names)),
        "landmark_triangle_l": (-1, f),
        "mirror_v": (0, v),
        "part_v": (0, len(head.part_names)),
        "lash_triangle_h": (0, f),
    }
    for name, (low, high) in limits.items():
        values = getattr(head, name)
        if values.size and (values.min() < low or values.max() >= high):
            raise DataError(f"{name} lies in [{values.min()}, {values.max()}], expected [{low}, {high})")
    for name in ("eyes_albedo_hw3", "mouth_albedo_hw3"):
        if getattr(head, name).ndim != 3 or getattr(head, name).shape[2] != 3:
            raise DataError(f"{name} has shape {getattr(head, name).shape}, expected (h, w, 3)")
    if head.material_names[:1] != ("skin",):
        raise DataError(f"material_names is {head.material_names}, expected 'skin' first")


def _encode(name: str, value: Any) -> npt.NDArray[Any]:
    if name in _OFFSETS:
        steps = np.round(np.asarray(value, np.float64) / _STEP_MM)
        if np.abs(steps).max(initial=0) > np.iinfo(np.int16).max:
            raise DataError(f"{name} moves a vertex by more than {np.iinfo(np.int16).max * _STEP_MM:.0f} mm")
        return steps.astype("<i2")
    array = np.asarray(value)
    if array.dtype.kind == "i":
        return array.astype("<i4")
    return array


def _decode(name: str, array: npt.NDArray[Any]) -> Any:
    if name == "name":
        return str(array)
    if name in _NAMES:
        return tuple(str(entry) for entry in array)
    if name in _OFFSETS:
        value: npt.NDArray[Any] = array.astype(np.float32) * np.float32(_STEP_MM)
    elif array.dtype.kind == "i":
        value = array.astype(np.int64)
    else:
        value = array
    value.setflags(write=False)
    return value
