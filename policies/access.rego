# METADATA
# title: access
# description: >-
#   May this read be made? The input is `AccessInput` of perron-model. Denied by default: a permit
#   needs every ground named in `permit`; a missing or ill-typed input is refused as
#   `evaluation_failed`. No clock, no network, no state: all that counts is in the input.
package perron.access

# Bounds of perron-model's `limits.rs` (a test there compares them).
unacknowledged_max := 100

unacknowledged_ms_max := 86400000

# Reasons in the order in which they are given; the first is the caller's.
precedence := [
	"register_stale",
	"participant_revoked",
	"participant_suspended",
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

malformed := {"permit": false, "refused": [{"code": "evaluation_failed", "clause": "input"}]}

default decision := {"permit": false, "refused": [{"code": "evaluation_failed", "clause": "evaluation"}]}

decision := malformed if not well_formed

decision := {"permit": true, "refused": []} if {
	well_formed
	permit
	count(reasons) == 0
}

decision := {"permit": false, "refused": refused} if {
	well_formed
	count(reasons) > 0
}

refused := [reason |
	some code in precedence
	some reason in reasons
	reason.code == code
]

# Every ground, stated positively: none of them undefined, none of them false.
permit if {
	input.parties.register_fresh
	input.parties.provider == "active"
	input.parties.consumer == "active"
	input.agreement.finalized
	not input.agreement.revoked
	not input.agreement.suspended
	not input.agreement.amended
	provider_is_asked
	legal_basis_agrees
	assignee_asks
	started
	not expired
	action_allowed
	purpose_allowed
	uses_left
	acknowledged
}

provider_is_asked if input.request.provider == input.agreement.provider

# A legal basis that the terms constrain is the one that both sides signed.
legal_basis_agrees if not input.agreement.terms.legal_basis

legal_basis_agrees if input.agreement.terms.legal_basis == input.agreement.legal_basis

assignee_asks if input.request.issuer == input.agreement.consumer

started if not input.agreement.terms.not_before

started if input.now >= input.agreement.terms.not_before

expired if input.now >= input.agreement.terms.not_after

action_allowed if input.request.action in input.agreement.terms.actions

purpose_allowed if input.request.purpose in input.agreement.terms.purposes

uses_left if not has_uses_max

uses_left if input.state.uses < input.agreement.terms.uses_max

has_uses_max if is_number(input.agreement.terms.uses_max)

acknowledged if {
	input.state.unacknowledged < unacknowledged_max
	input.state.unacknowledged_ms < unacknowledged_ms_max
}

reasons contains {"code": "register_stale", "clause": "register"} if not input.parties.register_fresh

reasons contains {"code": "participant_revoked", "clause": party_clause[side]} if {
	some side in ["consumer", "provider"]
	input.parties[side] == "revoked"
}

reasons contains {"code": "participant_suspended", "clause": party_clause[side]} if {
	some side in ["consumer", "provider"]
	input.parties[side] == "suspended"
}

reasons contains {"code": "agreement_not_in_force", "clause": "agreement"} if not input.agreement.finalized

reasons contains {"code": "agreement_not_in_force", "clause": "provider"} if not provider_is_asked

reasons contains {"code": "agreement_not_in_force", "clause": "legal_basis"} if not legal_basis_agrees

reasons contains {"code": "agreement_revoked", "clause": "agreement"} if input.agreement.revoked

reasons contains {"code": "agreement_suspended", "clause": "agreement"} if input.agreement.suspended

reasons contains {"code": "agreement_amended", "clause": "agreement"} if input.agreement.amended

reasons contains {"code": "assignee_mismatch", "clause": "assignee"} if not assignee_asks

reasons contains {"code": "agreement_not_started", "clause": "not_before"} if not started

reasons contains {"code": "agreement_expired", "clause": "not_after"} if expired

reasons contains {"code": "action_not_allowed", "clause": "actions"} if not action_allowed

reasons contains {"code": "purpose_not_allowed", "clause": "purposes"} if not purpose_allowed

reasons contains {"code": "uses_exhausted", "clause": "uses_max"} if not uses_left

reasons contains {"code": "acknowledgement_missing", "clause": "acknowledgement"} if not acknowledged

party_clause := {"consumer": "parties.consumer", "provider": "parties.provider"}

# The form of the input.
well_formed if {
	is_time(input.now)
	request_formed
	agreement_formed
	terms_formed
	parties_formed
	state_formed
}

request_formed if {
	is_string(input.request.issuer)
	is_string(input.request.provider)
	is_string(input.request.action)
	is_string(input.request.purpose)
}

agreement_formed if {
	is_string(input.agreement.id)
	is_string(input.agreement.provider)
	is_string(input.agreement.consumer)
	is_string(input.agreement.legal_basis)
	is_boolean(input.agreement.finalized)
	is_boolean(input.agreement.revoked)
	optional_boolean(input.agreement, "suspended")
	optional_boolean(input.agreement, "amended")
}

terms_formed if {
	texts(input.agreement.terms.actions)
	texts(input.agreement.terms.purposes)
	optional_text(input.agreement.terms, "legal_basis")
	optional_time(input.agreement.terms, "not_before")
	optional_time(input.agreement.terms, "not_after")
	optional_count(input.agreement.terms, "uses_max")
}

parties_formed if {
	input.parties.provider in {"active", "suspended", "revoked"}
	input.parties.consumer in {"active", "suspended", "revoked"}
	is_boolean(input.parties.register_fresh)
}

state_formed if {
	is_count(input.state.uses)
	is_count(input.state.unacknowledged)
	is_count(input.state.unacknowledged_ms)
}

texts(value) if {
	is_array(value)
	every item in value {
		is_string(item)
	}
}

# A member that may be absent; present, it has its type (null is not a type that any has).
optional_text(parent, key) if not key in object.keys(parent)

optional_text(parent, key) if is_string(parent[key])

optional_time(parent, key) if not key in object.keys(parent)

optional_time(parent, key) if is_time(parent[key])

optional_count(parent, key) if not key in object.keys(parent)

optional_count(parent, key) if is_count(parent[key])

optional_boolean(parent, key) if not key in object.keys(parent)

optional_boolean(parent, key) if is_boolean(parent[key])

is_count(value) if {
	is_number(value)
	value >= 0
	floor(value) == value
}

# `2026-11-23T10:00:00.000Z`: for this one form, the order of texts is the order of times.
# (No regular expression: its engine would be more than half of the compiled module.)
is_time(value) if {
	is_string(value)
	shape(value) == "dddd-dd-ddTdd:dd:dd.dddZ"
}

shape(value) := concat("", [kind | some char in split(value, ""); kind := kind_of(char)])

kind_of(char) := "d" if char in {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}

else := "" if char == "d"

else := char
