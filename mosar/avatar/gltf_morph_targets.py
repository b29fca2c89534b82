"""Morph targets in a GLB file that trimesh writes, which knows none: sparse accessors, named as glTF viewers expect."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Postprocessor = Callable[[MutableMapping[str, bytes], dict[str, Any]], None]

_FLOAT, _UINT = 5126, 5125  # glTF's codes of component types


def adder(offsets: Mapping[str, Floats], names: Sequence[str], weights: Sequence[float]) -> Postprocessor:
    """What ``trimesh`` calls with buffers and the JSON tree before it writes a file.

    Args:
        offsets: of each mesh's vertices at weight one (E N 3), by the mesh's name, in the file's unit.
        names: of the E targets.
        weights: that a viewer shows at first.
    """

    def add(buffers: MutableMapping[str, bytes], tree: dict[str, Any]) -> None:
        def view(content: bytes, name: str) -> int:
            buffers[name] = content
            return len(buffers) - 1

        for mesh in tree["meshes"]:
            targets = []
            for name, offset_n3 in zip(names, offsets[mesh["name"]], strict=True):
                key = f"{mesh['name']}/{name}"
                moved = np.flatnonzero((offset_n3 != 0).any(axis=1))
                accessor: dict[str, Any] = {
                    "componentType": _FLOAT,
                    "type": "VEC3",
                    "count": len(offset_n3),
                    "min": offset_n3.min(axis=0).tolist(),
                    "max": offset_n3.max(axis=0).tolist(),
                }
                if len(moved):
                    accessor["sparse"] = {
                        "count": len(moved),
                        "indices": {"bufferView": view(moved.astype("<u4").tobytes(), f"{key}/indices"),
                                    "componentType": _UINT},
                        "values": {"bufferView": view(offset_n3[moved].astype("<f4").tobytes(), f"{key}/values")},
                    }  # fmt: skip
                tree["accessors"][key] = accessor
                targets.append({"POSITION": len(tree["accessors"]) - 1})
            for primitive in mesh["primitives"]:
                primitive["targets"] = targets
            mesh["weights"] = [float(w) for w in weights]
            mesh.setdefault("extras", {})["targetNames"] = list(names)

    return add
