"""Events of `perron audit export --format ocsf` against the published schema of OCSF.

The schema is that of schema.ocsf.io, version 1.8.0, as `ocsf-json-schema` ships it: nothing is
fetched. Each event is judged by the schema of its own class and profiles. Then each kind of event
is broken in ways that the schema forbids, and has to be refused: a judge that takes everything
judges nothing.
"""

import collections
import copy
import functools
import json
import sys

import jsonschema
import ocsf_json_schema

VERSION = "1.8.0"
SCHEMA = ocsf_json_schema.OcsfJsonSchemaEmbedded(ocsf_json_schema.get_ocsf_schema(version=VERSION))
CLASSES = {6003: "api_activity", 6005: "datastore_activity"}


@functools.cache
def judge(class_uid: int, profiles: tuple) -> jsonschema.Draft202012Validator:
    name = SCHEMA.lookup_class_name_from_uid(class_uid=class_uid)
    assert name == CLASSES[class_uid], name
    schema = SCHEMA.get_class_schema(class_name=name, profiles=list(profiles))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def faults(event: dict) -> list[str]:
    metadata = event.get("metadata") or {}
    found = judge(event["class_uid"], tuple(metadata.get("profiles", ()))).iter_errors(event)
    return [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:300]}" for e in found]


def broken(event: dict):
    """The event without one thing that its class requires, or with one that it doesn't know."""
    for name in ("activity_id", "actor", "metadata", "severity_id", "src_endpoint", "time", "type_uid"):
        yield f"without {name}", {k: v for k, v in event.items() if k != name}
    if event["class_uid"] == 6003:
        yield "without api", {k: v for k, v in event.items() if k != "api"}
    else:
        yield "without a store", {k: v for k, v in event.items() if k not in ("table", "database")}
    yield "a time as text", event | {"time": "2026-11-23T10:00:00Z"}
    yield "a severity of its own", event | {"severity_id": 17}
    yield "an attribute of its own", event | {"perron": 1}
    changed = copy.deepcopy(event)
    del changed["metadata"]["product"]
    yield "without a product", changed


def main() -> int:
    seen, passed, failed = collections.Counter(), 0, 0
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                event = json.loads(line)
                kind = event["metadata"]["event_code"]
                wrong = faults(event)
                if event["metadata"]["version"] != VERSION:
                    wrong.append(f"it says version {event['metadata']['version']}")
                if event["type_uid"] != event["class_uid"] * 100 + event["activity_id"]:
                    wrong.append(f"type_uid {event['type_uid']}")
                passed, failed = passed + (not wrong), failed + bool(wrong)
                for fault in wrong:
                    print(f"{kind}: {fault}")
                if kind not in seen:
                    for what, change in broken(event):
                        if not faults(change):
                            failed += 1
                            print(f"{kind} {what}: taken all the same")
                seen[kind] += 1
    print(", ".join(f"{kind} {count}" for kind, count in sorted(seen.items())))
    if not passed:
        failed += 1
        print("no event was judged")
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
