"""The head: one topology with its chart, identity and expression bases, landmarks and labels."""

from mosar.models.face_outlines import LANDMARKS
from mosar.models.head.head import Head, head_bytes, load_head
from mosar.models.head.identity_sampling import Identity, sample_identity
from mosar.models.head.morph import landmarks, shape, vertex_normals

__all__ = [
    "LANDMARKS",
    "Head",
    "Identity",
    "head_bytes",
    "landmarks",
    "load_head",
    "sample_identity",
    "shape",
    "vertex_normals",
]
