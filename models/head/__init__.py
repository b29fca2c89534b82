"""The head: one topology with its chart, identity and expression bases, landmarks and labels."""

from mosar.models.head.head import Head, load_head, save_head
from mosar.models.head.identity_sampling import Identity, sample_identity
from mosar.models.head.morph import landmarks, shape, vertex_normals

__all__ = ["Head", "Identity", "landmarks", "load_head", "sample_identity", "save_head", "shape", "vertex_normals"]
