"""The chart of the skin: surface points of its texels, photographs unwrapped onto it, and samples of its maps."""

from mosar.models.uv.chart import Chart, chart, chart_of, interpolate, texels_of
from mosar.models.uv.sample import footprint, sample
from mosar.models.uv.surface import Surface, chart_tangents, surface, to_world
from mosar.models.uv.unwrap import density, unwrap

__all__ = [
    "Chart",
    "Surface",
    "chart",
    "chart_of",
    "chart_tangents",
    "density",
    "footprint",
    "interpolate",
    "sample",
    "surface",
    "texels_of",
    "to_world",
    "unwrap",
]
