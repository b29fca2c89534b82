"""Add morph targets, which trimesh cannot write, to its GLB files: sparse accessors, with names for glTF viewers."""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Postprocessor = Callable[[MutableMapping[str, bytes], dict[str, Any]], None]

_FLOAT, _UINT = 5126, 5125  # glTF's codes of component types


def adder(offsets: Mapping[str, Floats], names: Sequence[str], weights: Sequence[float]) -> Postprocessor:
    """A postprocessor that ``trimesh`` calls with buffers and the JSON tree before it writes a file.

    Args:
        offsets: mesh name -> offsets of its vertices at weight one (E N 3), in the file's unit.
        names: of the E targets.
        weights: initial weights of the E targets in a viewer.
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
