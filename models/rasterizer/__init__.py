"""Differentiable rasterisation: visibility by scan conversion, then barycentrics and depths with gradients."""

from mosar.models.rasterizer.coverage import Covered, covered, gather, scatter
from mosar.models.rasterizer.edges import edge_gradients
from mosar.models.rasterizer.fragments import rasterize

__all__ = ["Covered", "covered", "edge_gradients", "gather", "rasterize", "scatter"]
