"""Every route of both applications as one OpenAPI document.

MLflow has one of its FastAPI application. What its Flask application takes is in its protobuf messages, and
for the other handlers in the names that their code looks up. Runs under a server's own interpreter, after
`every_route.py`.
"""

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from fastapi.routing import iter_route_contexts
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from mlflow.server.handlers import get_endpoints
from starlette.routing import Mount

if TYPE_CHECKING:
    from fastapi import FastAPI
    from flask import Flask

    from tests.server.every_route import applications

Schema = dict[str, Any]
Operation = tuple[str, str, dict[str, Any]]
"""Path, method, and what OpenAPI says of the two."""
REFERENCE = "#/components/schemas/"
TEXTS = {FieldDescriptor.CPPTYPE_STRING}
WHOLE = {
    FieldDescriptor.CPPTYPE_INT32,
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT32,
    FieldDescriptor.CPPTYPE_UINT64,
}
FRACTIONS = {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}
# How handlers without a message look up what they are sent.
LOOKED_UP = re.compile(
    r"""(?:get|getlist|_get_request_param|_get_param|pop)\(\s*["'](\w+)["']|\[["'](\w+)["']\]"""
)
# What protobuf reads in its own way.
PLAIN = {
    "Timestamp": "string",
    "Duration": "string",
    "FieldMask": "string",
    "Value": "string",
    "Struct": "object",
    "ListValue": "array",
}


def kind_of(field: FieldDescriptor) -> Schema:
    if field.enum_type:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    if field.message_type:
        if field.message_type.full_name.startswith("google.protobuf."):
            return {"type": PLAIN.get(field.message_type.name, "object")}
        return {"$ref": REFERENCE + field.message_type.full_name}
    kind = field.cpp_type
    return {
        "type": "string"
        if kind in TEXTS
        else "integer"
        if kind in WHOLE
        else "number"
        if kind in FRACTIONS
        else "boolean"
    }


def is_repeated(field: FieldDescriptor) -> bool:
    return bool(
        field.is_repeated if hasattr(field, "is_repeated") else field.label == FieldDescriptor.LABEL_REPEATED
    )


def schema_of(field: FieldDescriptor) -> Schema:
    if field.message_type and field.message_type.GetOptions().map_entry:
        return {
            "type": "object",
            "additionalProperties": schema_of(field.message_type.fields_by_name["value"]),
        }
    return {"type": "array", "items": kind_of(field)} if is_repeated(field) else kind_of(field)


def add_message(message: Descriptor, schemas: dict[str, Schema]) -> None:
    """Put the message into the schemas, with all that it has in it."""
    if message.full_name in schemas or message.full_name.startswith("google.protobuf."):
        return
    schemas[message.full_name] = {
        "type": "object",
        "properties": {field.name: schema_of(field) for field in message.fields},
    }
    for field in message.fields:
        if field.message_type:
            add_message(field.message_type, schemas)


def looked_up(view: Callable[..., Any], depth: int = 2) -> set[str]:
    """Return the names that the view, and functions of its module that it calls, look up in a request."""
    view = inspect.unwrap(view)
    try:
        source = inspect.getsource(view)
    except (OSError, TypeError):
        return set()
    names = {one or other for one, other in LOOKED_UP.findall(source)}
    for called in set(re.findall(r"\b(\w+)\(", source)) if depth else ():
        function = view.__globals__.get(called)
        if (
            inspect.isfunction(function)
            and function.__module__.startswith("mlflow.server")
            and function is not view
        ):
            names |= looked_up(function, depth - 1)
    return names


def operation(path: str, method: str, properties: dict[str, Schema], schema: Schema) -> dict[str, Any]:
    """Return the operation with the properties where that method has them."""
    in_path = re.findall(r"\{(\w+)\}", path)
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in in_path
    ]
    if method == "GET":
        parameters += [
            {"name": name, "in": "query", "schema": kind}
            for name, kind in properties.items()
            if name not in in_path
        ]
        return {"parameters": parameters}
    return {"parameters": parameters, "requestBody": {"content": {"application/json": {"schema": schema}}}}


def of_flask(flask: "Flask", schemas: dict[str, Schema]) -> Iterator[Operation]:
    messages: dict[tuple[str, str], Descriptor] = {}
    for path, request, methods in get_endpoints(lambda request: request):
        messages |= {
            (method, path): request.DESCRIPTOR for method in methods if hasattr(request, "DESCRIPTOR")
        }
    for rule in flask.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            if message := messages.get((method, rule.rule)):
                add_message(message, schemas)
                properties, schema = (
                    schemas[message.full_name]["properties"],
                    {"$ref": REFERENCE + message.full_name},
                )
            else:
                properties = {
                    name: {"type": "string"}
                    for name in sorted(looked_up(flask.view_functions[rule.endpoint]))
                }
                schema = {"type": "object", "properties": properties}
            yield path, method, operation(path, method, properties, schema)


def of_fastapi(asgi: "FastAPI") -> Iterator[Operation]:
    for path, operations in asgi.openapi()["paths"].items():
        for method, found in operations.items():
            yield path, method.upper(), found
    for context in iter_route_contexts(asgi.routes):
        if not isinstance(context.original_route, Mount):
            path = re.sub(r"\{(\w+):\w+\}", r"{\1}", str(context.path))
            methods = (
                getattr(context, "methods", None)
                or getattr(context.original_route, "methods", None)
                or {"GET"}
            )
            for method in set(methods) - {"HEAD", "OPTIONS"}:
                yield path, method, operation(path, method, {}, {"type": "object"})


def document() -> dict[str, Any]:
    flask, asgi = applications()
    schemas = dict(asgi.openapi().get("components", {}).get("schemas", {}))
    paths: dict[str, dict[str, Any]] = {}
    for path, method, found in [*of_fastapi(asgi), *of_flask(flask, schemas)]:
        paths.setdefault(path, {}).setdefault(
            method.lower(), {**found, "responses": {"200": {"description": ""}}}
        )
    info = {"title": "MLflow", "version": "1"}
    return {
        "openapi": "3.1.0",
        "info": info,
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": schemas},
    }


json.dump(document(), sys.stdout, sort_keys=True)
