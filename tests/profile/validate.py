"""The published profile (policies/profile/v1) against the program's own reader.

The schema: each example policy, and each made from one by a single slip: what `perron policy check` publishes is
valid, and what it refuses by name (`term_unsupported`) is not. What it finds unfit for a set
(`term_invalid`) no schema can know.

The context: each example, read as JSON-LD by it and written as Turtle, has the same terms with the
same meaning, and is published or refused alike.
"""

import collections
import copy
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import tomllib

import jsonschema
import rdflib

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PERRON = os.environ.get("PERRON", str(TARGET / "debug/perron"))
# What names of participants and sets are relative to.
NAMES = "https://w3id.org/perron/name/"
TERMS = ("leftOperand", "operator", "action", "rdf:value", "@type", "profile", "conflict")
ADDED = ("uid", "@type", "assigner", "unit", "remedy", "inheritFrom", "target", "refinement", "odrl:action")
LEFT = ("count", "dateTime", "perron:columns", "perron:floor", "payAmount")
passed, failed = 0, 0


def check(what: str, holds: bool) -> None:
    global passed, failed
    if holds:
        passed += 1
    else:
        failed += 1
        print(f"FAILED: {what}")


def places(node, path=()):
    """Paths to the objects of a policy, but for what is compared with and the context."""
    if isinstance(node, dict):
        yield path
        for key, value in node.items():
            if key not in ("@context", "rightOperand"):
                yield from places(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from places(value, (*path, index))


def slips(policy: dict, known: set):
    """Each kind of slip once: the same one in the same term of another policy is `known`."""
    for path in places(policy):
        def change(what, make):
            slipped = copy.deepcopy(policy)
            at = slipped
            for key in path:
                at = at[key]
            make(at)
            return f"{'.'.join(map(str, path))}: {what}", slipped

        node = policy
        for key in path:
            node = node[key]
        changes = []
        for key in node:
            changes.append((f"without {key}", lambda at, key=key: at.pop(key)))
            if key in TERMS and isinstance(node[key], str):
                changes.append((f"{key} misspelt", lambda at, key=key: at.update({key: at[key] + "x"})))
        for key in ADDED:
            if key not in node:
                changes.append((f"with {key}", lambda at, key=key: at.update({key: []})))
        if "leftOperand" in node:
            for left in LEFT:
                changes.append((f"about {left}", lambda at, left=left: at.update({"leftOperand": left})))
        where = ".".join(key for key in path if isinstance(key, str))
        for what, make in changes:
            kind = (where, str(node.get("leftOperand", node.get("action"))), what)
            if kind not in known:
                known.add(kind)
                yield change(what, make)


def published(dataset: pathlib.Path, file: pathlib.Path) -> tuple[bool, str]:
    """Whether the program would publish it, and the codes of the refusals."""
    run = subprocess.run(
        [PERRON, "--json", "policy", "check", str(file), "--dataset", str(dataset)],
        capture_output=True, text=True, timeout=60, check=False,
    )
    if not run.stdout:
        # It isn't a policy at all.
        return False, json.loads(run.stderr)["error"]["code"]
    answer = json.loads(run.stdout)
    return answer["valid"], " ".join(problem["code"] for problem in answer["problems"])


def dataset(path: pathlib.Path) -> pathlib.Path:
    if path.parent.name == "classes":
        return path.parent / "set.toml"
    named = "household_water" if path.stem.startswith(("household", "totals")) else "building_water"
    return ROOT / f"demo/sets/{named}.toml"


def terms(file: pathlib.Path) -> collections.Counter:
    run = subprocess.run(
        [PERRON, "--json", "policy", "coverage", str(file)], capture_output=True, text=True, timeout=60, check=True
    )
    return collections.Counter((line["term"], line["by"], line["label"]) for line in json.loads(run.stdout)["terms"])


def as_turtle(policy: dict, file: pathlib.Path) -> None:
    """By the published context, in place of those that the policy names: nothing is fetched."""
    graph = rdflib.Graph()
    graph.parse(data=json.dumps(policy | {"@context": context, "@id": "urn:example:policy"}), format="json-ld", base=NAMES)
    file.write_text(graph.serialize(format="turtle"))


context = json.loads((ROOT / "policies/profile/v1/context.jsonld").read_text())["@context"]
schema = json.loads((ROOT / "policies/profile/v1/schema.json").read_text())
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
labels = tomllib.loads((ROOT / "policies/examples/classes/labels.toml").read_text())
folders = ["policies/examples", "policies/examples/classes", "demo/policies"]
known: set = set()
seen = {"published": 0, "refused by name": 0}
with tempfile.TemporaryDirectory() as folder:
    file, turtle = pathlib.Path(folder) / "policy.json", pathlib.Path(folder) / "policy.ttl"
    for path in sorted(path for name in folders for path in (ROOT / name).glob("*.json")):
        # The demonstration fills in the end of one window.
        policy = json.loads(path.read_text().replace('"END"', '"2036-01-01T00:00:00Z"'))
        name = path.relative_to(ROOT)
        is_refused = labels.get(path.stem, {}).get("label") == "refused"
        for what, slipped in [("", policy), *slips(policy, known)]:
            is_valid = validator.is_valid(slipped)
            file.write_text(json.dumps(slipped))
            is_published, codes = published(dataset(path), file)
            if not what:
                check(f"{name} is published: {codes}", is_published != is_refused)
                as_turtle(policy, turtle)
                check(f"{name} has other terms in Turtle", terms(turtle) == terms(file))
                check(f"{name} in Turtle", published(dataset(path), turtle) == (is_published, codes))
            if is_published:
                seen["published"] += 1
                check(f"{name} {what}: published, and not valid", is_valid)
            elif "term_unsupported" in codes:
                seen["refused by name"] += 1
                check(f"{name} {what}: refused by name, and valid", not is_valid)
check(f"the slips are of both kinds: {seen}", min(seen.values()) > 30)
print(f"published {seen['published']}, refused by name {seen['refused by name']}")
print(f"{passed} passed, {failed} failed")
sys.exit(failed != 0)
