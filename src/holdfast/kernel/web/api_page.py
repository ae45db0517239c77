"""The API's reference as one page that needs no script and nothing from another host."""

import json
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from holdfast.kernel.web.console.render import asset
from holdfast.kernel.web.router import Router

router = Router(include_in_schema=False)
_templates = Environment(
    loader=PackageLoader("holdfast.kernel.web"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
)


@router.get("/api/docs")
@router.get("/api/redoc")
async def api_page(request: Request) -> HTMLResponse:
    """Every call with its parameters and body."""
    schema = request.app.openapi()
    page = _templates.get_template("api.html.j2")
    return HTMLResponse(
        page.render(info=schema["info"], groups=_groups(schema), style=asset("api.css"))
    )


def _groups(schema: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            shown = {
                "method": method.upper(),
                "path": path,
                "text": operation.get("description") or operation["summary"],
                "parameters": [_parameter(p) for p in operation.get("parameters", ())],
                "body": _body(schema, operation),
            }
            groups.setdefault((operation.get("tags") or ["other"])[0], []).append(shown)
    return dict(sorted(groups.items()))


def _parameter(parameter: dict[str, Any]) -> dict[str, Any]:
    return {"required": False, "description": "", **parameter}


def _body(schema: dict[str, Any], operation: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    found = content.get("application/json", {}).get("schema", {})
    if "$ref" in found:
        found = schema["components"]["schemas"][found["$ref"].rpartition("/")[2]]
    return json.dumps(found, indent=2) if found else ""
