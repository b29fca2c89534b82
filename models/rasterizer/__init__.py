"""Differentiable rasterisation: visibility by scan conversion, then what pixels see as a function of the vertices."""

from mosar.models.rasterizer.coverage import Covered, covered, gather, scatter
from mosar.models.rasterizer.edges import edge_gradients
from mosar.models.rasterizer.fragments import rasterize, rasterize_meshes

__all__ = ["Covered", "covered", "edge_gradients", "gather", "rasterize", "rasterize_meshes", "scatter"]
