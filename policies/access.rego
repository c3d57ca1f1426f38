# METADATA
# title: access
# description: >-
#   May this read be made? The input is `AccessInput` of perron-model. Denied by default: a permit
#   needs every ground named in `permit`; a missing or ill-typed input is refused as
#   `evaluation_failed`. No clock, no network, no state: all that counts is in the input.
package perron.access

import data.perron.odrl

# Bounds of perron-model's `limits.rs` (a test there compares them).
unacknowledged_max := 100

unacknowledged_ms_max := 86400000

# As many reasons as one refusal gives.
refusals_max := 16

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
	"prohibited",
	"action_not_allowed",
	"permission_missing",
	"agreement_not_started",
	"agreement_expired",
	"purpose_not_allowed",
	"constraint_unsatisfied",
	"state_unknown",
	"duty_unfulfilled",
	"uses_exhausted",
	"volume_exhausted",
	"rate_exceeded",
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

decision := {"permit": false, "refused": array.slice(refused, 0, refusals_max)} if {
	well_formed
	count(reasons) > 0
}

# In the order of the codes, then of the places: a set alone has no order that every evaluator keeps.
refused := [reason |
	some code in precedence
	some reason in in_order
	reason.code == code
]

in_order := sort(reasons)

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
	assignee_asks
	odrl.permit
	acknowledged
}

provider_is_asked if input.request.provider == input.agreement.provider

assignee_asks if input.request.issuer == input.agreement.consumer

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

reasons contains {"code": "agreement_revoked", "clause": "agreement"} if input.agreement.revoked

reasons contains {"code": "agreement_suspended", "clause": "agreement"} if input.agreement.suspended

reasons contains {"code": "agreement_amended", "clause": "agreement"} if input.agreement.amended

reasons contains {"code": "assignee_mismatch", "clause": "assignee"} if not assignee_asks

# What the policy itself says, by its places in the signed document.
reasons contains reason if {
	not odrl.permit
	some reason in odrl.reasons
}

reasons contains {"code": "acknowledgement_missing", "clause": "acknowledgement"} if not acknowledged

party_clause := {"consumer": "parties.consumer", "provider": "parties.provider"}

# The form of the input. That of the rules is checked where they are looked at: what isn't of its
# type neither holds nor sets a prohibition aside.
well_formed if {
	is_count(input.now_ms)
	request_formed
	agreement_formed
	parties_formed
	state_formed
}

request_formed if {
	is_string(input.request.issuer)
	is_string(input.request.provider)
	is_string(input.request.action)
	is_string(input.request.purpose)
	is_string(input.request.target)
}

agreement_formed if {
	is_string(input.agreement.id)
	is_string(input.agreement.provider)
	is_string(input.agreement.consumer)
	is_string(input.agreement.legal_basis)
	is_count(input.agreement.agreed_ms)
	is_boolean(input.agreement.finalized)
	is_boolean(input.agreement.revoked)
	is_boolean(input.agreement.suspended)
	is_boolean(input.agreement.amended)
	is_array(input.agreement.rules.permissions)
	is_array(input.agreement.rules.prohibitions)
	is_array(input.agreement.rules.obligations)
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

is_count(value) if {
	is_number(value)
	value >= 0
	floor(value) == value
}
