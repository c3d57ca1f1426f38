package perron.access_test

import data.perron.access
import data.perron.odrl

# An input that is permitted; each test changes one thing of it.
good := {
	"now_ms": 1795600800000,
	"request": {
		"issuer": "intercommunale",
		"provider": "commune",
		"action": "http://www.w3.org/ns/odrl/2/read",
		"purpose": "https://w3id.org/dpv#ImprovePublicServices",
		"target": "building_water",
	},
	"agreement": {
		"id": "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg",
		"provider": "commune",
		"consumer": "intercommunale",
		"finalized": true,
		"agreed_ms": 1767225600000,
		"revoked": false,
		"suspended": false,
		"amended": false,
		"legal_basis": "https://w3id.org/dpv#PublicInterest",
		"rules": {
			"permissions": [{
				"at": "permission[0]",
				"action": "http://www.w3.org/ns/odrl/2/use",
				"assignee": "*",
				"target": "*",
				"all": [1, 2, 3, 4],
				"nodes": {
					"ranges": [
						{
							"id": 3,
							"at": "permission[0].constraint[2]",
							"left": "dateTime",
							"min": 1767225600000,
							"max": 1798761599999,
						},
						{
							"id": 4,
							"at": "permission[0].constraint[3]",
							"left": "count",
							"min": -9007199254740991,
							"max": 10,
						},
					],
					"any": [
						{
							"id": 1,
							"at": "permission[0].constraint[0]",
							"left": "purpose",
							"values": ["https://w3id.org/dpv#ImprovePublicServices"],
						},
						{
							"id": 2,
							"at": "permission[0].constraint[1]",
							"left": "legalBasis",
							"values": ["https://w3id.org/dpv#PublicInterest"],
						},
					],
				},
				"duties": [],
			}],
			"prohibitions": [],
			"obligations": [],
		},
	},
	"parties": {
		"provider": "active",
		"consumer": "active",
		"consumer_jurisdiction": "BE",
		"register_fresh": true,
	},
	"state": {"uses": 9, "unacknowledged": 99, "unacknowledged_ms": 86399999},
}

changed(path, value) := json.patch(good, [{"op": "replace", "path": path, "value": value}])

without(path) := json.patch(good, [{"op": "remove", "path": path}])

decide(value) := answer if answer := access.decision with input as value

only(code, clause) := {"permit": false, "refused": [{"code": code, "clause": clause}]}

malformed := only("evaluation_failed", "input")

permitted := {"permit": true, "refused": []}

test_permit if decide(good) == permitted

test_permit_without_constraints if {
	bare := json.patch(good, [
		{"op": "replace", "path": "/agreement/rules/permissions/0/all", "value": []},
		{"op": "replace", "path": "/agreement/rules/permissions/0/nodes", "value": {}},
	])
	decide(bare) == permitted
}

test_permit_at_the_first_moment if decide(changed("/now_ms", 1767225600000)) == permitted

test_permit_at_the_last_moment if decide(changed("/now_ms", 1798761599999)) == permitted

# One cause, one reason.
refusals := [
	["/parties/register_fresh", false, "register_stale", "register"],
	["/parties/consumer", "revoked", "participant_revoked", "parties.consumer"],
	["/parties/provider", "revoked", "participant_revoked", "parties.provider"],
	["/parties/consumer", "suspended", "participant_suspended", "parties.consumer"],
	["/parties/provider", "suspended", "participant_suspended", "parties.provider"],
	["/agreement/finalized", false, "agreement_not_in_force", "agreement"],
	["/request/provider", "other", "agreement_not_in_force", "provider"],
	[
		"/agreement/legal_basis",
		"https://w3id.org/dpv#Consent",
		"agreement_not_in_force",
		"permission[0].constraint[1]",
	],
	["/agreement/revoked", true, "agreement_revoked", "agreement"],
	["/agreement/suspended", true, "agreement_suspended", "agreement"],
	["/agreement/amended", true, "agreement_amended", "agreement"],
	["/request/issuer", "other", "assignee_mismatch", "assignee"],
	["/now_ms", 1767225599999, "agreement_not_started", "permission[0].constraint[2]"],
	["/now_ms", 1798761600000, "agreement_expired", "permission[0].constraint[2]"],
	["/request/action", "http://www.w3.org/ns/odrl/2/sell", "action_not_allowed", "permission"],
	["/agreement/rules/permissions", [], "action_not_allowed", "permission"],
	["/request/purpose", "https://w3id.org/dpv#Marketing", "purpose_not_allowed", "permission[0].constraint[0]"],
	["/agreement/rules/permissions/0/nodes/any/0/values", [], "purpose_not_allowed", "permission[0].constraint[0]"],
	["/state/uses", 10, "uses_exhausted", "permission[0].constraint[3]"],
	["/agreement/rules/permissions/0/target", "other", "permission_missing", "permission"],
	["/agreement/rules/permissions/0/nodes/ranges/1/left", "rate", "state_unknown", "permission[0].constraint[3]"],
	["/agreement/rules/permissions/0/nodes/ranges/1/left", "volume", "state_unknown", "permission[0].constraint[3]"],
	["/state/unacknowledged", 100, "acknowledgement_missing", "acknowledgement"],
	["/state/unacknowledged_ms", 86400000, "acknowledgement_missing", "acknowledgement"],
]

test_each_refusal[name] if {
	some [path, value, code, clause] in refusals
	name := sprintf("%s %v", [path, value])
	decide(changed(path, value)) == only(code, clause)
}

# Causes that take more than one value.
further_refusals := [
	[
		[
			{"op": "replace", "path": "/agreement/rules/permissions/0/nodes/ranges/1/left", "value": "volume"},
			{"op": "add", "path": "/state/volume_bytes", "value": 10},
		],
		"volume_exhausted", "permission[0].constraint[3]",
	],
	[
		[
			{"op": "replace", "path": "/agreement/rules/permissions/0/nodes/ranges/1/left", "value": "rate"},
			{"op": "add", "path": "/state/uses_last_hour", "value": 10},
		],
		"rate_exceeded", "permission[0].constraint[3]",
	],
	[
		[{"op": "replace", "path": "/agreement/rules/permissions/0/nodes/any/0/left", "value": "spatial"}],
		"constraint_unsatisfied", "permission[0].constraint[0]",
	],
	[
		[{"op": "add", "path": "/agreement/rules/permissions/0/duties/0", "value": {
			"at": "permission[0].duty[0]",
			"action": "http://www.w3.org/ns/odrl/2/inform",
		}}],
		"duty_unfulfilled", "permission[0].duty[0]",
	],
	[
		[{"op": "add", "path": "/agreement/rules/prohibitions/0", "value": {
			"at": "prohibition[0]",
			"action": "http://www.w3.org/ns/odrl/2/read",
			"assignee": "*",
			"target": "*",
			"all": [],
			"nodes": {},
			"duties": [],
		}}],
		"prohibited", "prohibition[0]",
	],
]

test_each_further_refusal[name] if {
	some [patch, code, clause] in further_refusals
	name := sprintf("%s %s", [code, clause])
	decide(json.patch(good, patch)) == only(code, clause)
}

test_all_reasons_in_their_order if {
	worst := json.patch(good, [
		{"op": "replace", "path": "/now_ms", "value": 1798761600000},
		{"op": "replace", "path": "/parties", "value": {
			"provider": "revoked",
			"consumer": "suspended",
			"register_fresh": false,
		}},
		{"op": "replace", "path": "/agreement/finalized", "value": false},
		{"op": "replace", "path": "/agreement/revoked", "value": true},
		{"op": "replace", "path": "/agreement/suspended", "value": true},
		{"op": "replace", "path": "/agreement/amended", "value": true},
		{"op": "replace", "path": "/request/issuer", "value": "x"},
		{"op": "replace", "path": "/request/provider", "value": "y"},
		{"op": "replace", "path": "/request/purpose", "value": "w"},
		{"op": "replace", "path": "/state", "value": {"uses": 11, "unacknowledged": 101, "unacknowledged_ms": 0}},
	])
	answer := decide(worst)
	answer.permit == false
	[reason.code | some reason in answer.refused] == [
		"register_stale",
		"participant_revoked",
		"participant_suspended",
		"agreement_not_in_force",
		"agreement_not_in_force",
		"agreement_revoked",
		"agreement_suspended",
		"agreement_amended",
		"assignee_mismatch",
		"agreement_expired",
		"purpose_not_allowed",
		"uses_exhausted",
		"acknowledgement_missing",
	]
}

# Twenty permissions that all apply and don't hold: sixteen reasons are enough.
test_reasons_are_bounded if {
	rule := good.agreement.rules.permissions[0]
	many := [many_rule |
		some number in numbers.range(100, 119)
		node := object.union(rule.nodes.any[0], {"id": number, "at": sprintf("permission[%d]", [number]), "values": []})
		many_rule := object.union(rule, {"all": [number], "nodes": {"any": [node]}})
	]
	count(decide(changed("/agreement/rules/permissions", many)).refused) == 16
}

test_every_code_has_its_place if {
	ones := {code | some [_, _, code, _] in refusals}
	further := {code | some [_, code, _] in further_refusals}
	ones | further == {code | some code in access.precedence}
}

required := [
	"/now_ms",
	"/request",
	"/request/issuer",
	"/request/provider",
	"/request/action",
	"/request/purpose",
	"/request/target",
	"/agreement",
	"/agreement/id",
	"/agreement/provider",
	"/agreement/consumer",
	"/agreement/finalized",
	"/agreement/agreed_ms",
	"/agreement/revoked",
	"/agreement/suspended",
	"/agreement/amended",
	"/agreement/legal_basis",
	"/agreement/rules",
	"/agreement/rules/permissions",
	"/agreement/rules/prohibitions",
	"/agreement/rules/obligations",
	"/parties",
	"/parties/provider",
	"/parties/consumer",
	"/parties/register_fresh",
	"/state",
	"/state/uses",
	"/state/unacknowledged",
	"/state/unacknowledged_ms",
]

test_missing_input if {
	every path in required {
		decide(without(path)) == malformed
	}
}

# No member has an object, a null or a list of numbers for its type.
test_ill_typed_input if {
	every path in required {
		every value in [null, {}] {
			decide(changed(path, value)) == malformed
		}
		decide(changed(path, [1])).permit == false
	}
}

test_count_that_is_none if {
	every path in ["/state/uses", "/state/unacknowledged", "/state/unacknowledged_ms", "/now_ms", "/agreement/agreed_ms"] {
		every value in [-1, 0.5, "1"] {
			decide(changed(path, value)) == malformed
		}
	}
}

test_unknown_standing if decide(changed("/parties/consumer", "unknown")) == malformed

test_no_input if access.decision == malformed

# Were a ground in `permit` without its reason, the answer is still a refusal.
test_ground_without_a_reason if {
	answer := access.decision with input as changed("/state/uses", 10) with data.perron.access.reasons as set()
	answer == only("evaluation_failed", "evaluation")
}

# Were a reason without its ground in `permit`, it is one too.
test_reason_without_a_ground if {
	answer := access.decision with input as good
		with data.perron.access.reasons as {{"code": "prohibited", "clause": "x"}}
	answer == only("prohibited", "x")
}

# Rules of a form that isn't theirs permit nothing and set no prohibition aside.
ill_formed := [
	["/agreement/rules/permissions/0/all", null],
	["/agreement/rules/permissions/0/all", {}],
	["/agreement/rules/permissions/0/all", [1, 2, 3, 4, 5]],
	["/agreement/rules/permissions/0/all", ["1"]],
	["/agreement/rules/permissions/0/action", null],
	["/agreement/rules/permissions/0/action", false],
	["/agreement/rules/permissions/0/assignee", null],
	["/agreement/rules/permissions/0/target", null],
	["/agreement/rules/permissions/0/nodes", null],
	["/agreement/rules/permissions/0/duties", null],
	["/agreement/rules/permissions/0/duties", {}],
	["/agreement/rules/permissions/0/duties", [null]],
	["/agreement/rules/permissions/0/nodes/ranges/0/min", null],
	["/agreement/rules/permissions/0/nodes/ranges/0/max", "9"],
	["/agreement/rules/permissions/0/nodes/any/0/values", "https://w3id.org/dpv#ImprovePublicServices"],
	["/agreement/rules/prohibitions", [null]],
	["/agreement/rules/prohibitions", [{}]],
	["/agreement/rules/prohibitions", ["x"]],
	["/agreement/rules/obligations", [null]],
	["/agreement/rules/obligations", [{}]],
]

test_ill_formed_rules_refuse[name] if {
	some [path, value] in ill_formed
	name := sprintf("%s %v", [path, value])
	decide(changed(path, value)).permit == false
}

test_the_library_alone_permits_nothing_without_input if odrl.permit == false
