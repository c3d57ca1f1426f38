package perron.access_test

import data.perron.access

# An input that is permitted; each test changes one thing of it.
good := {
	"now": "2026-11-23T10:00:00.000Z",
	"request": {
		"issuer": "intercommunale",
		"provider": "commune",
		"action": "http://www.w3.org/ns/odrl/2/use",
		"purpose": "https://w3id.org/dpv#ImprovePublicServices",
	},
	"agreement": {
		"id": "n4bQgYhMfWWaL-qgxVrQFaO_TxsrC4Is0V1sFbDwCgg",
		"provider": "commune",
		"consumer": "intercommunale",
		"finalized": true,
		"revoked": false,
		"suspended": false,
		"amended": false,
		"legal_basis": "https://w3id.org/dpv#PublicInterest",
		"terms": {
			"actions": ["http://www.w3.org/ns/odrl/2/use"],
			"purposes": ["https://w3id.org/dpv#ImprovePublicServices"],
			"legal_basis": "https://w3id.org/dpv#PublicInterest",
			"not_before": "2026-01-01T00:00:00.000Z",
			"not_after": "2027-01-01T00:00:00.000Z",
			"uses_max": 10,
			"view": {"kind": "rows", "view": {"filter": [], "columns": [{"name": "litres"}]}},
		},
	},
	"parties": {"provider": "active", "consumer": "active", "register_fresh": true},
	"state": {"uses": 9, "unacknowledged": 99, "unacknowledged_ms": 86399999},
}

changed(path, value) := json.patch(good, [{"op": "replace", "path": path, "value": value}])

without(path) := json.patch(good, [{"op": "remove", "path": path}])

decide(value) := answer if answer := access.decision with input as value

only(code, clause) := {"permit": false, "refused": [{"code": code, "clause": clause}]}

malformed := only("evaluation_failed", "input")

permitted := {"permit": true, "refused": []}

test_permit if decide(good) == permitted

test_permit_without_optional_terms if {
	every path in [
		"/agreement/suspended",
		"/agreement/amended",
		"/agreement/terms/legal_basis",
		"/agreement/terms/not_before",
		"/agreement/terms/not_after",
		"/agreement/terms/uses_max",
	] {
		decide(without(path)) == permitted
	}
}

test_permit_at_the_first_moment if decide(changed("/now", "2026-01-01T00:00:00.000Z")) == permitted

test_permit_at_the_last_moment if decide(changed("/now", "2026-12-31T23:59:59.999Z")) == permitted

# One cause, one reason.
refusals := [
	["/parties/register_fresh", false, "register_stale", "register"],
	["/parties/consumer", "revoked", "participant_revoked", "parties.consumer"],
	["/parties/provider", "revoked", "participant_revoked", "parties.provider"],
	["/parties/consumer", "suspended", "participant_suspended", "parties.consumer"],
	["/parties/provider", "suspended", "participant_suspended", "parties.provider"],
	["/agreement/finalized", false, "agreement_not_in_force", "agreement"],
	["/request/provider", "other", "agreement_not_in_force", "provider"],
	["/agreement/legal_basis", "https://w3id.org/dpv#Consent", "agreement_not_in_force", "legal_basis"],
	["/agreement/revoked", true, "agreement_revoked", "agreement"],
	["/agreement/suspended", true, "agreement_suspended", "agreement"],
	["/agreement/amended", true, "agreement_amended", "agreement"],
	["/request/issuer", "other", "assignee_mismatch", "assignee"],
	["/now", "2025-12-31T23:59:59.999Z", "agreement_not_started", "not_before"],
	["/now", "2027-01-01T00:00:00.000Z", "agreement_expired", "not_after"],
	["/request/action", "http://www.w3.org/ns/odrl/2/distribute", "action_not_allowed", "actions"],
	["/agreement/terms/actions", [], "action_not_allowed", "actions"],
	["/request/purpose", "https://w3id.org/dpv#Marketing", "purpose_not_allowed", "purposes"],
	["/agreement/terms/purposes", [], "purpose_not_allowed", "purposes"],
	["/state/uses", 10, "uses_exhausted", "uses_max"],
	["/agreement/terms/uses_max", 0, "uses_exhausted", "uses_max"],
	["/state/unacknowledged", 100, "acknowledgement_missing", "acknowledgement"],
	["/state/unacknowledged_ms", 86400000, "acknowledgement_missing", "acknowledgement"],
]

test_each_refusal[name] if {
	some [path, value, code, clause] in refusals
	name := sprintf("%s %v", [path, value])
	decide(changed(path, value)) == only(code, clause)
}

test_all_reasons_in_their_order if {
	worst := json.patch(good, [
		{"op": "replace", "path": "/now", "value": "2028-01-01T00:00:00.000Z"},
		{"op": "replace", "path": "/agreement/terms/not_before", "value": "2029-01-01T00:00:00.000Z"},
		{"op": "replace", "path": "/parties", "value": {
			"provider": "revoked",
			"consumer": "suspended",
			"register_fresh": false,
		}},
		{"op": "replace", "path": "/agreement/finalized", "value": false},
		{"op": "replace", "path": "/agreement/revoked", "value": true},
		{"op": "replace", "path": "/agreement/suspended", "value": true},
		{"op": "replace", "path": "/agreement/amended", "value": true},
		{"op": "replace", "path": "/request", "value": {"issuer": "x", "provider": "y", "action": "z", "purpose": "w"}},
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
		"agreement_not_started",
		"agreement_expired",
		"action_not_allowed",
		"purpose_not_allowed",
		"uses_exhausted",
		"acknowledgement_missing",
	]
}

test_every_code_has_its_place if {
	{code | some [_, _, code, _] in refusals} == {code | some code in access.precedence}
}

required := [
	"/now",
	"/request",
	"/request/issuer",
	"/request/provider",
	"/request/action",
	"/request/purpose",
	"/agreement",
	"/agreement/id",
	"/agreement/provider",
	"/agreement/consumer",
	"/agreement/finalized",
	"/agreement/revoked",
	"/agreement/legal_basis",
	"/agreement/terms",
	"/agreement/terms/actions",
	"/agreement/terms/purposes",
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

optional := [
	"/agreement/suspended",
	"/agreement/amended",
	"/agreement/terms/legal_basis",
	"/agreement/terms/not_before",
	"/agreement/terms/not_after",
	"/agreement/terms/uses_max",
]

# No member has an object, a null or a list of numbers for its type.
test_ill_typed_input if {
	every path in array.concat(required, optional) {
		every value in [null, {}, [1]] {
			decide(changed(path, value)) == malformed
		}
	}
}

test_time_in_another_form if {
	every value in [
		"2026-11-23T10:00:00Z",
		"2026-11-23T10:00:00.000+00:00",
		"2026-11-23 10:00:00.000Z",
		"2026-11-23T10:00:00.000z",
		"dddd-dd-ddTdd:dd:dd.dddZ",
		"",
		1700000000,
	] {
		decide(changed("/now", value)) == malformed
		decide(changed("/agreement/terms/not_before", value)) == malformed
		decide(changed("/agreement/terms/not_after", value)) == malformed
	}
}

test_count_that_is_none if {
	every value in [-1, 0.5, "1"] {
		decide(changed("/state/uses", value)) == malformed
		decide(changed("/agreement/terms/uses_max", value)) == malformed
	}
}

test_unknown_standing if decide(changed("/parties/consumer", "unknown")) == malformed

test_no_input if access.decision == malformed

# Were a ground in `permit` without its reason, the answer is still a refusal.
test_ground_without_a_reason if {
	answer := access.decision with input as changed("/state/uses", 10) with data.perron.access.reasons as set()
	answer == only("evaluation_failed", "evaluation")
}
