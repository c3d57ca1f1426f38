"""The published schema (policies/profile/v1/schema.json) against every example policy.

Each example that Perron publishes is valid, each that it refuses for a term is not, and no valid one
stays valid when a term is misspelt, a member is added, or a required one is taken away.
"""

import copy
import json
import pathlib
import sys
import tomllib

import jsonschema

ROOT = pathlib.Path(__file__).resolve().parents[2]
passed, failed = 0, 0


def check(what: str, holds: bool) -> None:
    global passed, failed
    if holds:
        passed += 1
    else:
        failed += 1
        print(f"FAILED: {what}")


def mutants(policy: dict):
    """Policies that differ from a valid one by one slip."""
    for member in ("@type", "profile", "permission"):
        mutant = copy.deepcopy(policy)
        del mutant[member]
        yield f"without {member}", mutant
    mutant = copy.deepcopy(policy)
    mutant["inheritFrom"] = "https://example.org/other"
    yield "with inheritFrom", mutant
    mutant = copy.deepcopy(policy)
    mutant["permission"][0]["remedy"] = []
    yield "with a remedy", mutant
    for index, _ in enumerate(policy["permission"][0].get("constraint", [])):
        for member in ("leftOperand", "operator"):
            mutant = copy.deepcopy(policy)
            constraint = mutant["permission"][0]["constraint"][index]
            if member in constraint:
                constraint[member] += "x"
                # A family of names has no wrong ones.
                if constraint["leftOperand"].startswith(("perron:column/", "perron:fact/")) and member == "leftOperand":
                    continue
                yield f"constraint {index}: {constraint[member]}", mutant


schema = json.loads((ROOT / "policies/profile/v1/schema.json").read_text())
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
labels = tomllib.loads((ROOT / "policies/examples/classes/labels.toml").read_text())
folders = ["policies/examples", "policies/examples/classes", "demo/policies"]
for path in sorted(path for folder in folders for path in (ROOT / folder).glob("*.json")):
    # The demonstration fills in the end of one window.
    policy = json.loads(path.read_text().replace('"END"', '"2026-01-01T00:00:00Z"'))
    published = labels.get(path.stem, {}).get("label") != "refused"
    name = path.relative_to(ROOT)
    errors = [error.message[:200] for error in validator.iter_errors(policy)]
    check(f"{name} is {'valid' if published else 'not valid'}: {errors}", (not errors) == published)
    if published and not errors:
        for what, mutant in mutants(policy):
            check(f"{name} {what} is not valid", not validator.is_valid(mutant))

print(f"{passed} passed, {failed} failed")
sys.exit(failed != 0)
