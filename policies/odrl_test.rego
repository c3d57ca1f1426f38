package perron.odrl_test

import data.perron.odrl

use := "http://www.w3.org/ns/odrl/2/use"

read := "http://www.w3.org/ns/odrl/2/read"

rule := {"at": "permission[0]", "action": read, "assignee": "*", "target": "*", "all": [], "nodes": {}, "duties": []}

prohibition := object.union(rule, {"at": "prohibition[0]"})

world := {
	"now_ms": 1000,
	"request": {
		"issuer": "alice",
		"issuer_of": ["planners"],
		"action": read,
		"purpose": "planning",
		"target": "x",
		"target_of": ["everything"],
		"roles": ["analyst", "engineer"],
	},
	"agreement": {"agreed_ms": 400, "legal_basis": "task", "rules": {
		"permissions": [rule],
		"prohibitions": [],
		"obligations": [],
	}},
	"parties": {"consumer_jurisdiction": "BE"},
	"state": {
		"uses": 4,
		"uses_last_hour": 2,
		"volume_bytes": 99,
		"duties": {"d": "fulfilled", "v": "violated", "n": "not-set"},
		"facts": {"crisis": true, "season": "summer"},
	},
}

of(permissions, prohibitions) := object.union(world, {"agreement": {"rules": {
	"permissions": permissions,
	"prohibitions": prohibitions,
}}})

permits(permissions, prohibitions) if odrl.permit with input as of(permissions, prohibitions)

reasons(permissions, prohibitions) := answer if {
	answer := odrl.reasons with input as of(permissions, prohibitions)
}

with_nodes(base, all, nodes) := object.union(base, {"all": all, "nodes": nodes})

# --- Matching ----------------------------------------------------------------------------------

matched := [
	["action", "*"],
	["action", read],
	["action", use],
	["assignee", "*"],
	["assignee", "alice"],
	["assignee", "planners"],
	["target", "*"],
	["target", "x"],
	["target", "everything"],
]

mismatched := [
	["action", "http://www.w3.org/ns/odrl/2/distribute"],
	["action", "http://www.w3.org/ns/odrl/2/transfer"],
	["assignee", "bob"],
	["target", "y"],
]

test_what_a_rule_is_about if {
	every case in matched {
		[member, value] := case
		permits([object.union(rule, {member: value})], [])
		not permits([rule], [object.union(prohibition, {member: value})])
	}
	every case in mismatched {
		[member, value] := case
		not permits([object.union(rule, {member: value})], [])
		permits([rule], [object.union(prohibition, {member: value})])
	}
}

test_why_nothing_is_about_it if {
	reasons([object.union(rule, {"action": "z"})], []) == {{"code": "action_not_allowed", "clause": "permission"}}
	reasons([object.union(rule, {"assignee": "bob"})], []) == {{"code": "assignee_mismatch", "clause": "permission"}}
	reasons([object.union(rule, {"target": "y"})], []) == {{"code": "permission_missing", "clause": "permission"}}
	reasons([], []) == {{"code": "action_not_allowed", "clause": "permission"}}
}

test_actions_hold_what_is_included_in_them if {
	asked := object.union(of([object.union(rule, {"action": use})], []), {"request": {"action": "http://www.w3.org/ns/odrl/2/extract"}})
	odrl.permit with input as asked
	sold := object.union(asked, {"request": {"action": "http://www.w3.org/ns/odrl/2/sell"}})
	not odrl.permit with input as sold
	unknown := object.union(asked, {"request": {"action": "http://example.org/act"}})
	not odrl.permit with input as unknown
}

test_what_an_action_implies_must_not_be_prohibited if {
	moving := {"request": {"action": "http://www.w3.org/ns/odrl/2/move"}}
	anything := object.union(rule, {"action": use})
	deleting := object.union(prohibition, {"action": "http://www.w3.org/ns/odrl/2/delete"})
	odrl.permit with input as object.union(of([anything], []), moving)
	not odrl.permit with input as object.union(of([anything], [deleting]), moving)
	permits([anything], [deleting])
}

# Every action of the table leads up to `use` or `transfer`, and nothing holds itself.
test_the_table_of_actions if {
	every action, above in odrl.included_in {
		not action in above
		count(above & {use, "http://www.w3.org/ns/odrl/2/transfer"}) == 1
		every one in above {
			every higher in object.get(odrl.included_in, one, set()) {
				higher in above
			}
		}
	}
}

# --- Tests -------------------------------------------------------------------------------------

range(left, least, most) := {"ranges": [{"id": 1, "at": "r", "left": left, "min": least, "max": most}]}

set_of(kind, left, values) := {kind: [{"id": 1, "at": "s", "left": left, "values": values}]}

differs(left, value) := {"differs": [{"id": 1, "at": "d", "left": left, "value": value}]}

holding := [
	range("dateTime", 1000, 1000),
	range("elapsedTime", 600, 600),
	range("count", 5, 5),
	range("rate", 3, 3),
	range("volume", 100, 100),
	differs("count", 4),
	set_of("any", "purpose", ["other", "planning"]),
	set_of("any", "legalBasis", ["task"]),
	set_of("any", "recipient", ["alice"]),
	set_of("any", "spatial", ["FR", "BE"]),
	set_of("any", "userRole", ["engineer"]),
	set_of("any", "fact/crisis", [true]),
	set_of("any", "fact/season", ["summer"]),
	set_of("none", "userRole", ["auditor"]),
	set_of("none", "fact/crisis", [false]),
	set_of("every", "userRole", ["analyst", "engineer"]),
]

failing := [
	range("dateTime", 1001, 2000),
	range("dateTime", 0, 999),
	range("elapsedTime", 0, 599),
	range("count", 0, 4),
	differs("count", 5),
	set_of("any", "purpose", ["other"]),
	set_of("any", "fact/crisis", ["true"]),
	set_of("none", "userRole", ["analyst"]),
	set_of("every", "userRole", ["analyst", "auditor"]),
]

unknown := [
	range("fact/none", 0, 9),
	range("nothing", 0, 9),
	range("purpose", 0, 9),
	range("dateTime", null, "9"),
	differs("nothing", 1),
	set_of("any", "fact/none", [true]),
	set_of("none", "fact/none", [true]),
	set_of("every", "fact/none", [true]),
	set_of("any", "count", [5]),
]

test_what_holds_permits_and_prohibits if {
	every nodes in holding {
		permits([with_nodes(rule, [1], nodes)], [])
		not permits([rule], [with_nodes(prohibition, [1], nodes)])
	}
}

test_what_fails_neither_permits_nor_prohibits if {
	every nodes in failing {
		not permits([with_nodes(rule, [1], nodes)], [])
		permits([rule], [with_nodes(prohibition, [1], nodes)])
	}
}

test_what_is_unknown_prohibits_and_does_not_permit if {
	every nodes in unknown {
		not permits([with_nodes(rule, [1], nodes)], [])
		not permits([rule], [with_nodes(prohibition, [1], nodes)])
	}
	reasons([with_nodes(rule, [1], set_of("any", "fact/none", [true]))], []) == {{"code": "state_unknown", "clause": "s"}}
}

test_all_of_a_rule_has_to_hold if {
	both := object.union(range("dateTime", 0, 2000), {"any": [{"id": 2, "at": "s", "left": "purpose", "values": ["other"]}]})
	not permits([with_nodes(rule, [1, 2], both)], [])
	permits([rule], [with_nodes(prohibition, [1, 2], both)])
	permits([with_nodes(rule, [1, 2], both), rule], [])
}

test_a_test_alone_has_its_code if {
	cases := [
		["agreement_expired", range("elapsedTime", 0, 599)],
		["agreement_not_started", range("elapsedTime", 601, 700)],
		["assignee_mismatch", set_of("any", "recipient", ["bob"])],
		["constraint_unsatisfied", set_of("any", "userRole", ["auditor"])],
		["constraint_unsatisfied", differs("dateTime", 1000)],
		["rate_exceeded", range("rate", 0, 2)],
		["volume_exhausted", range("volume", 0, 99)],
	]
	every case in cases {
		[code, nodes] := case
		some reason in reasons([with_nodes(rule, [1], nodes)], [])
		reason.code == code
	}
}

# --- Logic -------------------------------------------------------------------------------------

# Node 1 holds, 2 fails, 3 isn't known.
three := {
	"ranges": [
		{"id": 1, "at": "1", "left": "dateTime", "min": 0, "max": 2000},
		{"id": 2, "at": "2", "left": "dateTime", "min": 0, "max": 1},
	],
	"any": [{"id": 3, "at": "3", "left": "fact/none", "values": [true]}],
}

combined(operator, nodes) := object.union(three, {"logic": [[{"id": 9, "at": "l", "operator": operator, "of": nodes}]]})

state(operator, nodes) := "held" if {
	permits([with_nodes(rule, [9], combined(operator, nodes))], [])
} else := "failed" if {
	permits([rule], [with_nodes(prohibition, [9], combined(operator, nodes))])
} else := "unknown"

truths := [
	["and", [1, 1], "held"],
	["and", [1, 2], "failed"],
	["and", [1, 3], "unknown"],
	["and", [2, 3], "failed"],
	["andSequence", [1, 1], "held"],
	["andSequence", [3, 2], "failed"],
	["andSequence", [1, 3], "unknown"],
	["or", [2, 1], "held"],
	["or", [2, 2], "failed"],
	["or", [3, 1], "held"],
	["or", [3, 2], "unknown"],
	["xone", [1, 2], "held"],
	["xone", [1, 1], "failed"],
	["xone", [2, 2], "failed"],
	["xone", [1, 3], "unknown"],
	["xone", [1, 1, 3], "failed"],
	["xone", [2, 3], "unknown"],
	["nor", [2], "unknown"],
]

test_logic_of_three_values[name] if {
	some [operator, nodes, expected] in truths
	name := sprintf("%s %v", [operator, nodes])
	state(operator, nodes) == expected
}

# Six levels, each a conjunction of the one below.
test_levels if {
	levels := [[{"id": 10 + level, "at": "l", "operator": "or", "of": [below]}] |
		some level in numbers.range(0, 5)
		below := [1, 10, 11, 12, 13, 14][level]
	]
	permits([with_nodes(rule, [15], object.union(three, {"logic": levels}))], [])
	seventh := array.concat(levels, [[{"id": 16, "at": "l", "operator": "or", "of": [15]}]])
	not permits([with_nodes(rule, [16], object.union(three, {"logic": seventh}))], [])
}

test_a_logical_constraint_is_named if {
	reasons([with_nodes(rule, [9], combined("and", [1, 2]))], []) == {{"code": "constraint_unsatisfied", "clause": "l"}}
	reasons([with_nodes(rule, [9], combined("and", [1, 3]))], []) == {{"code": "state_unknown", "clause": "l"}}
}

# --- Prohibitions, duties, obligations ---------------------------------------------------------

test_a_prohibition_overrides if {
	reasons([rule], [prohibition]) == {{"code": "prohibited", "clause": "prohibition[0]"}}
	other := with_nodes(object.union(prohibition, {"at": "prohibition[1]"}), [1], range("dateTime", 0, 1))
	reasons([rule], [prohibition, other]) == {{"code": "prohibited", "clause": "prohibition[0]"}}
}

test_duties_are_conditions if {
	permits([object.union(rule, {"duties": [{"at": "d"}]})], [])
	every place in ["v", "n", "absent"] {
		owed := object.union(rule, {"duties": [{"at": place}]})
		not permits([owed], [])
		reasons([owed], []) == {{"code": "duty_unfulfilled", "clause": place}}
		permits([owed, rule], [])
	}
}

owing(place) := object.union(world, {"agreement": {"rules": {"obligations": [{"at": place}]}}})

test_an_obligation_refuses_once_it_is_violated if {
	every place in ["d", "n", "absent"] {
		odrl.permit with input as owing(place)
	}
	not odrl.permit with input as owing("v")
	breach := odrl.reasons with input as owing("v")
	breach == {{"code": "duty_unfulfilled", "clause": "v"}}
}

# --- The report --------------------------------------------------------------------------------

test_a_report if {
	owed := object.union(with_nodes(rule, [9], combined("or", [1, 2, 3])), {"duties": [{"at": "n"}]})
	told := odrl.report with input as object.union(of([owed, object.union(rule, {"assignee": "bob"})], [prohibition]), {"agreement": {"rules": {"obligations": [{"at": "v"}]}}})
	told.permit == false
	[first, second] := told.permissions
	first == {
		"at": "permission[0]",
		"action": true,
		"party": true,
		"target": true,
		"nodes": [
			{"id": 1, "at": "1", "state": "satisfied", "left": 1000},
			{"id": 2, "at": "2", "state": "unsatisfied", "left": 1000},
			{"id": 3, "at": "3", "state": "unknown"},
			{"id": 9, "at": "l", "state": "satisfied", "of": [1, 2, 3]},
		],
		"duties": [{"at": "n", "state": "not-set"}],
		"active": false,
	}
	[second.party, second.active] == [false, false]
	[told.prohibitions[0].active, told.obligations] == [true, [{"at": "v", "state": "violated"}]]
}

test_a_report_of_what_is_permitted if {
	set_aside := with_nodes(prohibition, [1], range("dateTime", 0, 1))
	elsewhere := object.union(prohibition, {"target": "y"})
	told := odrl.report with input as of([rule], [set_aside, elsewhere])
	[told.permit, told.permissions[0].active] == [true, true]
	[one.active | some one in told.prohibitions] == [false, false]
}

# Suite mode: a duty that isn't set doesn't make its permission inactive; the gate's decision
# doesn't know the mode.
test_suite_mode if {
	every case in [["n", true], ["absent", true], ["d", true], ["v", false]] {
		[place, active] := case
		owed := object.union(of([object.union(rule, {"duties": [{"at": place}]})], []), {"suite": true})
		told := odrl.report with input as owed
		told.permissions[0].active == active
		told.permit == active
	}
	owed := object.union(of([object.union(rule, {"duties": [{"at": "n"}]})], []), {"suite": true})
	not odrl.permit with input as owed
}
