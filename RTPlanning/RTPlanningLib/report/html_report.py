"""The report: one HTML file with everything inside it, for the screen and for A4 paper."""

from __future__ import annotations

import base64
from importlib import resources
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from RTPlanningLib.report.report_data import Picture, ReportData
from RTPlanningLib.report.text_file import write_text_file

_TEMPLATE = "report.html.j2"
_STYLE = "report.css"


def render_report(data: ReportData) -> str:
    """Return the report as HTML text: no scripts, no outside resources, the same text for the same data."""
    return render_page(_TEMPLATE, data)


def render_page(template: str, data: object) -> str:
    """Render a template of this folder with ``report`` = ``data`` and the style all reports share."""
    # every value is escaped; template and style sheet alone write markup
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_read_template),
    )
    environment.filters["data_uri"] = _data_uri
    style = Markup(_read_template(_STYLE))
    return environment.get_template(template).render(report=data, style=style)


def write_report(path: str | Path, data: ReportData) -> None:
    """Write the report to an HTML file; a file half-written never takes the place of a whole one."""
    write_text_file(path, render_report(data))


def _read_template(name: str) -> str:
    return resources.files("RTPlanningLib.report").joinpath(name).read_text(encoding="utf-8")


def _data_uri(picture: Picture) -> str:
    return f"data:{picture.media_type};base64,{base64.b64encode(picture.data).decode('ascii')}"
