package perron.staff_test

import data.perron.staff

everyone := ["analyst", "data-officer", "approver", "auditor", "operator", "buyer"]

asked(roles, action) := {
	"roles": roles,
	"action": action,
	"granted_agreements": ["A"],
	"granted_purposes": ["P"],
}

query(roles, agreement, purpose) := object.union(
	asked(roles, "query"),
	{"agreement": agreement, "purpose": purpose},
)

decide(value) := answer if answer := staff.decision with input as value

codes(value) := [reason.code | some reason in decide(value).refused]

permitted := {"permit": true, "refused": []}

malformed := {"permit": false, "refused": [{"code": "evaluation_failed", "clause": "input"}]}

test_each_action_and_role if {
	every action, roles in staff.allowed {
		every role in everyone {
			expected(action, role, role in roles)
		}
	}
}

expected("query", "analyst", true)

expected(action, role, true) if {
	action != "query"
	decide(asked([role], action)) == permitted
}

expected(action, role, false) if {
	answer := decide(asked([role], action))
	answer.permit == false
	answer.refused[0] == {"code": "role_missing", "clause": "roles"}
}

test_roles_of_the_table_exist if {
	every roles in staff.allowed {
		roles & {role | some role in everyone} == roles
	}
}

test_an_auditor_reads_the_log_and_runs_no_query if {
	decide(asked(["auditor"], "audit.list")) == permitted
	codes(query(["auditor"], "A", "P")) == ["role_missing"]
	codes(asked(["auditor"], "dataset.show")) == ["role_missing"]
}

test_who_opens_what_is_sealed_doesnt_erase_it if {
	decide(asked(["auditor"], "audit.open")) == permitted
	codes(asked(["data-officer"], "audit.open")) == ["role_missing"]
	decide(asked(["data-officer"], "audit.erase")) == permitted
	codes(asked(["auditor"], "audit.erase")) == ["role_missing"]
}

test_an_operator_sees_no_data_and_no_log if {
	codes(query(["operator"], "A", "P")) == ["role_missing"]
	codes(asked(["operator"], "audit.read")) == ["role_missing"]
}

test_four_eyes if {
	codes(asked(["data-officer"], "negotiation.approve")) == ["role_missing"]
	decide(asked(["approver"], "negotiation.approve")) == permitted
	codes(asked(["approver"], "negotiation.request")) == ["role_missing"]
}

test_one_of_several_roles_is_enough if decide(asked(["buyer", "approver"], "negotiation.refuse")) == permitted

test_query_under_a_grant if decide(query(["analyst"], "A", "P")) == permitted

test_query_outside_the_grant if {
	decide(query(["analyst"], "B", "P")).refused == [{
		"code": "agreement_not_granted",
		"clause": "granted_agreements",
	}]
	decide(query(["analyst"], "A", "Q")).refused == [{"code": "purpose_not_granted", "clause": "granted_purposes"}]
	codes(query([], "B", "Q")) == ["role_missing", "agreement_not_granted", "purpose_not_granted"]
}

test_query_without_naming_its_grant if {
	codes(asked(["analyst"], "query")) == ["agreement_not_granted", "purpose_not_granted"]
}

test_unknown_action if codes(asked(everyone, "dataset.destroy")) == ["role_missing"]

test_missing_input if {
	every key in ["roles", "action", "granted_agreements", "granted_purposes"] {
		decide(object.remove(query(["analyst"], "A", "P"), [key])) == malformed
	}
	staff.decision == malformed
}

test_ill_typed_input if {
	every key in ["roles", "action", "granted_agreements", "granted_purposes", "agreement", "purpose"] {
		every value in [null, {}, [1], 1] {
			decide(object.union(query(["analyst"], "A", "P"), {key: value})) == malformed
		}
	}
}

test_ground_without_a_reason if {
	answer := staff.decision with input as asked([], "status") with data.perron.staff.reasons as set()
	answer.refused[0] == {"code": "evaluation_failed", "clause": "evaluation"}
}
