"""What SARIF 2.1.0 (OASIS Standard, sections 3.13 to 3.58) asks of the properties that the library writes.

Closed objects: a property that the standard does not have under that name is an error.
"""

from __future__ import annotations

from typing import Any


def closed(required: str = "", **properties: Any) -> dict[str, Any]:
    """An object of these properties alone."""
    kind = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**kind, "required": required.split()} if required else kind


def listed(items: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


TEXT = {"type": "string"}
INDEX = {"type": "integer", "minimum": -1}
BAG = {"type": "object", "properties": {"tags": listed(TEXT, uniqueItems=True)}}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
MESSAGE = {**closed(text=TEXT, markdown=TEXT, id=TEXT), "anyOf": [{"required": ["text"]}, {"required": ["id"]}]}
MULTIFORMAT = closed("text", text=TEXT, markdown=TEXT)
ARTIFACT = closed(uri={"type": "string", "format": "uri-reference"}, uriBaseId=TEXT, index=INDEX)
REGION = closed(startLine={"type": "integer", "minimum": 1}, startColumn={"type": "integer", "minimum": 1})
LOCATION = closed(physicalLocation=closed(artifactLocation=ARTIFACT, region=REGION), message=MESSAGE)
RULE = closed("id", id=TEXT, name=TEXT, shortDescription=MULTIFORMAT, fullDescription=MULTIFORMAT, helpUri=TEXT)
DRIVER = closed("name", name=TEXT, version=TEXT, semanticVersion=TEXT, informationUri=TEXT, rules=listed(RULE))
NOTIFICATION = closed("message", message=MESSAGE, level=LEVEL, locations=listed(LOCATION))
INVOCATION = closed(
    "executionSuccessful", executionSuccessful={"type": "boolean"}, toolExecutionNotifications=listed(NOTIFICATION)
)
RESULT = closed(
    "message",
    ruleId=TEXT,
    ruleIndex=INDEX,
    kind={"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]},
    level=LEVEL,
    message=MESSAGE,
    locations=listed(LOCATION),
    partialFingerprints={"type": "object", "additionalProperties": TEXT},
    baselineState={"enum": ["new", "unchanged", "updated", "absent"]},
    properties=BAG,
)
RUN = closed("tool", tool=closed("driver", driver=DRIVER), invocations=listed(INVOCATION), results=listed(RESULT))
LOG = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    **closed("version runs", version={"const": "2.1.0"}, runs=listed(RUN), **{"$schema": TEXT}),
}
