# METADATA
# title: odrl
# description: >-
#   What a policy's rules say of a request, in a state of the world: ODRL 2.2 with what its formal
#   semantics leave open decided (`README.md`). The input has the members of `ReportInput` of
#   perron-model; an `AccessInput` has them too. No clock, no network, no state.
#
#   A test holds, fails, or its left operand isn't known: then it does neither. A permission needs
#   what holds, a prohibition is set aside by what fails alone. So what is unknown, missing or of
#   another type refuses.
package perron.odrl

rules := input.agreement.rules

# --- Which rules are about the request ---------------------------------------------------------

any_of_them := "*"

# Actions whose permission covers the action asked for.
actions := {any_of_them, input.request.action} | object.get(included_in, input.request.action, set())

# Actions whose prohibition covers it: also those of what the action implies.
prohibited_actions := actions | {action |
	some implied in implies[input.request.action]
	some action in ({implied} | object.get(included_in, implied, set()))
}

parties := {any_of_them, input.request.issuer} | {party | some party in input.request.issuer_of}

targets := {any_of_them, input.request.target} | {target | some target in input.request.target_of}

applicable := [rule |
	some rule in rules.permissions
	rule.action in actions
	rule.assignee in parties
	rule.target in targets
]

matching := [rule |
	some rule in rules.prohibitions
	not about_something_else(rule)
]

about_something_else(rule) if {
	is_string(rule.action)
	not rule.action in prohibited_actions
}

about_something_else(rule) if {
	is_string(rule.assignee)
	not rule.assignee in parties
}

about_something_else(rule) if {
	is_string(rule.target)
	not rule.target in targets
}

# --- What follows ------------------------------------------------------------------------------

default permit := false

permit if {
	permitted
	not prohibited
	not in_breach
}

permitted if {
	some rule in applicable
	holds(rule)
	every_duty_fulfilled(rule)
}

# Without logic, what has to hold is looked at until the first that doesn't: sets first, for the
# purpose tells most permissions apart.
holds(rule) if {
	not rule.nodes.logic
	not unmet(rule)
	count(rule.all) == count(nodes_of(rule))
}

holds(rule) if {
	is_array(rule.nodes.logic)
	active_permission(rule, permission_truth.held)
}

unmet(rule) if {
	some node in rule.nodes.any
	not meets_any(node)
}

unmet(rule) if {
	some node in rule.nodes.ranges
	not in_range(node)
}

unmet(rule) if {
	some node in rule.nodes.none
	not meets_none(node)
}

unmet(rule) if {
	some node in rule.nodes.differs
	not is_another(node)
}

unmet(rule) if {
	some node in rule.nodes.every
	not meets_every(node)
}

active_permission(rule, held) if {
	is_array(rule.all)
	every id in rule.all {
		id in held
	}
}

every_duty_fulfilled(rule) if {
	is_array(rule.duties)
	every duty in rule.duties {
		duty_state(duty) == "fulfilled"
	}
}

# Prohibited: unless each prohibition is known to be about something else or set aside.
prohibited if not none_prohibits

none_prohibits if {
	is_array(rules.prohibitions)
	every rule in matching {
		set_aside(rule)
	}
}

# In breach: unless each obligation is known not to be violated.
in_breach if not no_breach

no_breach if {
	is_array(rules.obligations)
	every duty in rules.obligations {
		duty_state(duty) in {"not-set", "fulfilled"}
	}
}

duty_state(duty) := object.get(object.get(input.state, "duties", {}), duty.at, "not-set")

# A prohibition is set aside by what fails of it.
set_aside(rule) if {
	some node in rule.nodes.any
	node.id in rule.all
	fails_any(node)
}

set_aside(rule) if {
	some node in rule.nodes.ranges
	node.id in rule.all
	out_of_range(node)
}

set_aside(rule) if {
	some node in rule.nodes.none
	node.id in rule.all
	fails_none(node)
}

set_aside(rule) if {
	some node in rule.nodes.differs
	node.id in rule.all
	left[node.left] == node.value
}

set_aside(rule) if {
	some node in rule.nodes.every
	node.id in rule.all
	fails_every(node)
}

set_aside(rule) if {
	is_array(rule.nodes.logic)
	some id in rule.all
	id in prohibition_truth.failed
}

permission_truth := truth(applicable)

prohibition_truth := truth(matching)

# --- Reasons of a refusal ----------------------------------------------------------------------

reasons contains {"code": "prohibited", "clause": rule.at} if {
	prohibited
	some rule in matching
	not set_aside(rule)
}

reasons contains {"code": "duty_unfulfilled", "clause": duty.at} if {
	some duty in rules.obligations
	not duty_state(duty) in {"not-set", "fulfilled"}
}

reasons contains {"code": "action_not_allowed", "clause": "permission"} if not action_permitted

action_permitted if {
	some rule in rules.permissions
	rule.action in actions
}

reasons contains {"code": "assignee_mismatch", "clause": "permission"} if {
	action_permitted
	not party_permitted
}

party_permitted if {
	some rule in rules.permissions
	rule.action in actions
	rule.assignee in parties
}

reasons contains {"code": "permission_missing", "clause": "permission"} if {
	party_permitted
	count(applicable) == 0
}

reasons contains {"code": "duty_unfulfilled", "clause": duty.at} if {
	not permitted
	some rule in applicable
	some duty in rule.duties
	not duty_state(duty) == "fulfilled"
}

# What of the permissions that apply doesn't hold; `unheld` are the uppermost nodes.
reasons contains {"code": "state_unknown", "clause": node.at} if {
	some node in unheld
	not node.id in permission_truth.failed
}

reasons contains {"code": code_of(node), "clause": node.at} if {
	some node in unheld
	node.id in permission_truth.failed
}

unheld := [node |
	not permitted
	some rule in applicable
	some node in nodes_of(rule)
	node.id in rule.all
	not node.id in permission_truth.held
]

nodes_of(rule) := array.concat(
	[node | some kind in ["ranges", "differs", "any", "none", "every"]; some node in rule.nodes[kind]],
	[node | some level in rule.nodes.logic; some node in level],
)

# A test that is the reason alone has a code of its own.
code_of(node) := code if {
	code := codes[node.left]
} else := "agreement_not_started" if {
	node.left in {"dateTime", "elapsedTime"}
	left[node.left] < node.min
} else := "agreement_expired" if {
	node.left in {"dateTime", "elapsedTime"}
	left[node.left] > node.max
} else := "constraint_unsatisfied"

codes := {
	"purpose": "purpose_not_allowed",
	"legalBasis": "agreement_not_in_force",
	"recipient": "assignee_mismatch",
	"count": "uses_exhausted",
	"volume": "volume_exhausted",
	"rate": "rate_exceeded",
}

# --- What holds and what fails -----------------------------------------------------------------

# The value of each left operand: a whole number, or a list of texts and truth values. One that
# isn't known isn't there.
left["dateTime"] := input.now_ms

left["purpose"] := [input.request.purpose]

left["recipient"] := [input.request.issuer]

left["userRole"] := input.request.roles

left["legalBasis"] := [input.agreement.legal_basis]

left["elapsedTime"] := input.now_ms - input.agreement.agreed_ms

left["spatial"] := [input.parties.consumer_jurisdiction]

left["count"] := input.state.uses + 1

left["rate"] := input.state.uses_last_hour + 1

left["volume"] := input.state.volume_bytes + 1

left[key] := [fact] if {
	some name, fact in input.state.facts
	key := concat("/", ["fact", name])
}

in_range(node) if {
	number := left[node.left]
	is_number(number)
	is_number(node.min)
	is_number(node.max)
	number >= node.min
	number <= node.max
}

out_of_range(node) if {
	number := left[node.left]
	is_number(number)
	is_number(node.max)
	number > node.max
}

out_of_range(node) if {
	number := left[node.left]
	is_number(number)
	is_number(node.min)
	number < node.min
}

is_another(node) if {
	number := left[node.left]
	is_number(number)
	is_number(node.value)
	number != node.value
}

meets_any(node) if {
	some value in left[node.left]
	value in node.values
}

fails_any(node) if {
	is_array(left[node.left])
	is_array(node.values)
	every value in left[node.left] {
		not value in node.values
	}
}

meets_none(node) if fails_any(node)

fails_none(node) if meets_any(node)

meets_every(node) if {
	is_array(left[node.left])
	is_array(node.values)
	every value in node.values {
		value in left[node.left]
	}
}

fails_every(node) if {
	is_array(left[node.left])
	some value in node.values
	not value in left[node.left]
}

tests_held(list) := ((({node.id | some rule in list; some node in rule.nodes.ranges; in_range(node)} | {node.id | some rule in list; some node in rule.nodes.any; meets_any(node)}) | {node.id | some rule in list; some node in rule.nodes.differs; is_another(node)}) | {node.id | some rule in list; some node in rule.nodes.none; meets_none(node)}) | {node.id | some rule in list; some node in rule.nodes.every; meets_every(node)}

tests_failed(list) := ((({node.id | some rule in list; some node in rule.nodes.ranges; out_of_range(node)} | {node.id | some rule in list; some node in rule.nodes.any; fails_any(node)}) | {node.id | some rule in list; some node in rule.nodes.differs; left[node.left] == node.value}) | {node.id | some rule in list; some node in rule.nodes.none; fails_none(node)}) | {node.id | some rule in list; some node in rule.nodes.every; fails_every(node)}

# Tests and logical nodes together. As many levels as `POLICY_LOGIC_LEVELS_MAX` of perron-model:
# Rego knows no recursion.
truth(list) := level_6 if {
	level_0 := {"held": tests_held(list), "failed": tests_failed(list)}
	level_1 := deeper(list, 0, level_0)
	level_2 := deeper(list, 1, level_1)
	level_3 := deeper(list, 2, level_2)
	level_4 := deeper(list, 3, level_3)
	level_5 := deeper(list, 4, level_4)
	level_6 := deeper(list, 5, level_5)
}

deeper(list, level, below) := {
	"held": (below.held | {node.id |
		some rule in list
		some node in rule.nodes.logic[level]
		logic_holds(node, below)
	}),
	"failed": (below.failed | {node.id |
		some rule in list
		some node in rule.nodes.logic[level]
		logic_fails(node, below)
	}),
}

conjunction := {"and", "andSequence"}

logic_holds(node, below) if {
	node.operator in conjunction
	is_array(node.of)
	every id in node.of {
		id in below.held
	}
}

logic_holds(node, below) if {
	node.operator == "or"
	some id in node.of
	id in below.held
}

logic_holds(node, below) if {
	node.operator == "xone"
	count([id | some id in node.of; id in below.held]) == 1
	count([id | some id in node.of; id in below.failed]) == count(node.of) - 1
}

logic_fails(node, below) if {
	node.operator in conjunction
	some id in node.of
	id in below.failed
}

logic_fails(node, below) if {
	node.operator in {"or", "xone"}
	is_array(node.of)
	every id in node.of {
		id in below.failed
	}
}

logic_fails(node, below) if {
	node.operator == "xone"
	count([id | some id in node.of; id in below.held]) > 1
}

# --- The report --------------------------------------------------------------------------------

report := {
	"permit": reported_permit,
	"permissions": [answer |
		some rule in rules.permissions
		answer := object.union(premises(rule, actions), {"active": reported_permission(rule)})
	],
	"prohibitions": [answer |
		some rule in rules.prohibitions
		answer := object.union(premises(rule, prohibited_actions), {"active": reported_prohibition(rule)})
	],
	"obligations": [{"at": duty.at, "state": duty_state(duty)} | some duty in rules.obligations],
}

default reported_permit := false

reported_permit if {
	some rule in rules.permissions
	reported_permission(rule)
	not prohibited
	not in_breach
}

report_truth := truth(array.concat(rules.permissions, rules.prohibitions))

premises(rule, covered) := {
	"at": rule.at,
	"action": rule.action in covered,
	"party": rule.assignee in parties,
	"target": rule.target in targets,
	"nodes": [object.union(known(node), {"id": node.id, "at": node.at, "state": satisfaction(node)}) |
		some id in sort([node.id | some node in nodes_of(rule)])
		some node in nodes_of(rule)
		node.id == id
	],
	"duties": [{"at": duty.at, "state": duty_state(duty)} | some duty in rule.duties],
}

known(node) := {"of": node.of} if {
	node.of
} else := {"left": left[node.left]} if {
	not node.of
} else := {}

satisfaction(node) := "satisfied" if {
	node.id in report_truth.held
} else := "unsatisfied" if {
	node.id in report_truth.failed
} else := "unknown"

default reported_permission(_) := false

reported_permission(rule) if {
	some index
	applicable[index] == rule
	active_permission(rule, report_truth.held)
	reported_duties(rule)
}

reported_duties(rule) if every_duty_fulfilled(rule)

# Suite mode, off at the gate: as the test suite of SolidLab has it, a duty that is not set
# doesn't make its permission inactive.
reported_duties(rule) if {
	input.suite == true
	is_array(rule.duties)
	every duty in rule.duties {
		duty_state(duty) in {"not-set", "fulfilled"}
	}
}

default reported_prohibition(_) := true

reported_prohibition(rule) := false if about_something_else(rule)

reported_prohibition(rule) := false if {
	some id in rule.all
	id in report_truth.failed
}

# --- Actions -----------------------------------------------------------------------------------

# What an action implies must not be prohibited (ODRL 2.2 Information Model, section 2.4, with its
# own example, and the vocabulary's definition of `move`: deleting the original).
implies := {
	"http://www.w3.org/ns/odrl/2/share": {"http://www.w3.org/ns/odrl/2/distribute"},
	"http://www.w3.org/ns/odrl/2/move": {"http://www.w3.org/ns/odrl/2/delete"},
}

# What an action is included in, all the way up (ODRL 2.2 Vocabulary and its Creative Commons terms;
# a deprecated action stands under what the vocabulary says it means).
included_in := {
	"http://creativecommons.org/ns#Attribution": {"http://www.w3.org/ns/odrl/2/use"},
	"http://creativecommons.org/ns#CommercialUse": {"http://www.w3.org/ns/odrl/2/use"},
	"http://creativecommons.org/ns#DerivativeWorks": {"http://www.w3.org/ns/odrl/2/use"},
	"http://creativecommons.org/ns#Distribution": {"http://www.w3.org/ns/odrl/2/use"},
	"http://creativecommons.org/ns#Notice": {"http://www.w3.org/ns/odrl/2/use"},
	"http://creativecommons.org/ns#Reproduction": {"http://www.w3.org/ns/odrl/2/use"},
	"http://creativecommons.org/ns#ShareAlike": {"http://www.w3.org/ns/odrl/2/use"},
	"http://creativecommons.org/ns#Sharing": {"http://www.w3.org/ns/odrl/2/use"},
	"http://creativecommons.org/ns#SourceCode": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/acceptTracking": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/adHocShare": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/aggregate": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/annotate": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/anonymize": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/append": {"http://www.w3.org/ns/odrl/2/modify", "http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/appendTo": {"http://www.w3.org/ns/odrl/2/modify", "http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/archive": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/attachPolicy": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/attachSource": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/attribute": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/commercialize": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/compensate": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/concurrentUse": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/copy": {"http://www.w3.org/ns/odrl/2/reproduce", "http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/delete": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/derive": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/digitize": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/display": {"http://www.w3.org/ns/odrl/2/play", "http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/distribute": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/ensureExclusivity": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/execute": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/export": {"http://www.w3.org/ns/odrl/2/transform", "http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/extract": {"http://www.w3.org/ns/odrl/2/reproduce", "http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/extractChar": {"http://www.w3.org/ns/odrl/2/extract", "http://www.w3.org/ns/odrl/2/reproduce", "http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/extractPage": {"http://www.w3.org/ns/odrl/2/extract", "http://www.w3.org/ns/odrl/2/reproduce", "http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/extractWord": {"http://www.w3.org/ns/odrl/2/extract", "http://www.w3.org/ns/odrl/2/reproduce", "http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/give": {"http://www.w3.org/ns/odrl/2/transfer"},
	"http://www.w3.org/ns/odrl/2/grantUse": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/include": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/index": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/inform": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/install": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/lease": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/lend": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/license": {"http://www.w3.org/ns/odrl/2/grantUse", "http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/modify": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/move": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/nextPolicy": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/obtainConsent": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/pay": {"http://www.w3.org/ns/odrl/2/compensate", "http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/play": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/present": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/preview": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/print": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/read": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/reproduce": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/reviewPolicy": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/secondaryUse": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/sell": {"http://www.w3.org/ns/odrl/2/transfer"},
	"http://www.w3.org/ns/odrl/2/share": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/shareAlike": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/stream": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/synchronize": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/textToSpeech": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/transform": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/translate": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/uninstall": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/watermark": {"http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/write": {"http://www.w3.org/ns/odrl/2/modify", "http://www.w3.org/ns/odrl/2/use"},
	"http://www.w3.org/ns/odrl/2/writeTo": {"http://www.w3.org/ns/odrl/2/modify", "http://www.w3.org/ns/odrl/2/use"},
}
