"""Build a binary glTF 2.0 file: buffer views, accessors, textures and other objects, then the bytes of the GLB."""

import json
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Index = npt.NDArray[np.integer[Any]]

VERTICES, TRIANGLES = 34962, 34963
"""glTF's codes of a buffer view's target: ARRAY_BUFFER and ELEMENT_ARRAY_BUFFER."""
_FLOAT, _SHORT, _UINT = 5126, 5123, 5125  # component types
_CLAMP, _LINEAR, _MIPMAPS = 33071, 9729, 9987
_WIDTHS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}


class GltfBuilder:
    """A glTF file that grows. Every ``add`` returns the index of what it added."""

    def __init__(self) -> None:
        self._tree: dict[str, list[dict[str, Any]]] = {}
        self._binary = bytearray()

    def add(self, kind: str, item: dict[str, Any]) -> int:
        """Append to one of glTF's arrays, such as ``materials`` or ``nodes``."""
        items = self._tree.setdefault(kind, [])
        items.append(item)
        return len(items) - 1

    def add_view(self, content: bytes, target: int | None = None) -> int:
        """Append bytes to the buffer, aligned to four."""
        self._binary += bytes(-len(self._binary) % 4)
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self._binary), "byteLength": len(content)}
        self._binary += content
        return self.add("bufferViews", view | ({"target": target} if target else {}))

    def add_vertices(self, values_nc: Floats, bounds: bool = False) -> int:
        """An accessor of a value per vertex (n, c), float32; positions need their ``bounds``."""
        values_nc = np.ascontiguousarray(values_nc, "<f4")
        accessor = {"bufferView": self.add_view(values_nc.tobytes(), VERTICES), **_layout(values_nc)}
        return self.add("accessors", accessor | (_bounds(values_nc) if bounds else {}))

    def add_sparse(self, values_n3: Floats, bounds: bool = False) -> int:
        """An accessor that stores only the rows that are not zero (at least one)."""
        values_n3 = np.ascontiguousarray(values_n3, "<f4")
        moved = np.flatnonzero(values_n3.any(axis=1))
        accessor = _layout(values_n3) | {
            "sparse": {
                "count": len(moved),
                "indices": {"bufferView": self.add_view(moved.astype("<u4").tobytes()), "componentType": _UINT},
                "values": {"bufferView": self.add_view(values_n3[moved].tobytes())},
            }
        }
        return self.add("accessors", accessor | (_bounds(values_n3) if bounds else {}))

    def add_triangles(self, triangles_f3: Index) -> int:
        """An accessor of triangles (f, 3)."""
        short = int(triangles_f3.max()) < 65535  # the highest value restarts a strip
        content = np.ascontiguousarray(triangles_f3, "<u2" if short else "<u4").tobytes()
        return self.add(
            "accessors",
            {
                "bufferView": self.add_view(content, TRIANGLES),
                "componentType": _SHORT if short else _UINT,
                "type": "SCALAR",
                "count": triangles_f3.size,
            },
        )

    def add_texture(self, png: bytes, name: str) -> int:
        """A texture of a PNG file, filtered with mipmaps and clamped at the edges."""
        if "samplers" not in self._tree:
            self.add("samplers", {"magFilter": _LINEAR, "minFilter": _MIPMAPS, "wrapS": _CLAMP, "wrapT": _CLAMP})
        image = self.add("images", {"bufferView": self.add_view(png), "mimeType": "image/png", "name": name})
        return self.add("textures", {"sampler": 0, "source": image, "name": name})

    def to_bytes(self, generator: str, extensions: tuple[str, ...]) -> bytes:
        """The GLB file, with one scene that holds every node; ``extensions``: those that its objects use."""
        tree = {
            "asset": {"version": "2.0", "generator": generator},
            "extensionsUsed": list(extensions),
            "scene": 0,
            "scenes": [{"nodes": list(range(len(self._tree["nodes"])))}],
            **self._tree,
            "buffers": [{"byteLength": len(self._binary)}],
        }
        text = json.dumps(tree, separators=(",", ":")).encode()
        chunks = ((b"JSON", text + b" " * (-len(text) % 4)), (b"BIN\0", self._binary + bytes(-len(self._binary) % 4)))
        body = b"".join(struct.pack("<I4s", len(content), kind) + content for kind, content in chunks)
        return struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body


def _layout(values_nc: Floats) -> dict[str, Any]:
    count, width = values_nc.shape
    return {"componentType": _FLOAT, "type": _WIDTHS[width], "count": count}


def _bounds(values_nc: Floats) -> dict[str, Any]:
    return {"min": values_nc.min(axis=0).tolist(), "max": values_nc.max(axis=0).tolist()}
