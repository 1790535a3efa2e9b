"""Reports: one self-contained HTML page each, readable offline, in the dark and on paper."""

import base64
from collections.abc import Mapping
from typing import Any

from components.errors import UnknownName


def data_uri(png: bytes) -> str:
    """A PNG as a page holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def render(template: str, data: Mapping[str, Any], figures: Mapping[str, str]) -> str:
    """The page `templates/<template>.html` filled with `data`, a pure function of its arguments.

    `figures` are inline SVG strings of `components.reports.plots`; templates place them with
    `{{ figures.NAME | safe }}`. Everything else is escaped. Raises UnknownName for a template that does not exist,
    and jinja2.UndefinedError for a value that the template needs and `data` lacks.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("components.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    shared = ("base.html", "_scores.html")
    pages = [name.removesuffix(".html") for name in environment.list_templates() if name not in shared]
    if template not in pages:
        raise UnknownName("report template", template, pages)
    return environment.get_template(f"{template}.html").render(**data, figures=figures)
