"""Figures as PNG or SVG bytes: the same figure, the same bytes."""

from __future__ import annotations

from io import BytesIO

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def new_figure(width_inch: float, height_inch: float, facecolor: str = "white") -> Figure:
    """Return an empty figure with a canvas of its own, apart from pyplot's global state."""
    figure = Figure(figsize=(width_inch, height_inch), facecolor=facecolor)
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure, dpi: int = 144) -> bytes:
    """Render a figure as PNG, without date or software in it."""
    stream = BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, facecolor=figure.get_facecolor(), metadata={"Software": None})
    return stream.getvalue()


def svg_bytes(figure: Figure) -> bytes:
    """Render a figure as SVG, letters as outlines, without a date, with reproducible ids."""
    stream = BytesIO()
    with mpl.rc_context({"svg.hashsalt": "rtplanning", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", facecolor=figure.get_facecolor(), metadata={"Date": None, "Creator": None})
    return stream.getvalue()
