# METADATA
# title: staff
# description: >-
#   May a user of one's own organisation do this? The input is `StaffInput` of perron-model.
#   Denied by default: an action that the table doesn't name is nobody's.
package perron.staff

# Roles that may do an action; one of them is enough.
allowed := {
	"query": {"analyst"},
	"dataset.list": {"analyst", "data-officer", "approver"},
	"dataset.show": {"analyst", "data-officer", "approver"},
	"dataset.add": {"data-officer"},
	"dataset.update": {"data-officer"},
	"dataset.withdraw": {"data-officer"},
	"catalogue.show": {"analyst", "data-officer", "approver"},
	"offer.list": {"analyst", "data-officer", "approver"},
	"offer.show": {"analyst", "data-officer", "approver"},
	"offer.add": {"data-officer"},
	"offer.withdraw": {"data-officer"},
	"policy.check": {"data-officer", "approver"},
	"policy.explain": {"analyst", "data-officer", "approver", "auditor"},
	"negotiation.list": {"data-officer", "approver"},
	"negotiation.show": {"data-officer", "approver"},
	"negotiation.request": {"data-officer"},
	"negotiation.offer": {"data-officer"},
	"negotiation.accept": {"data-officer"},
	"negotiation.terminate": {"data-officer"},
	"negotiation.approve": {"approver"},
	"negotiation.refuse": {"approver"},
	"agreement.list": {"analyst", "data-officer", "approver", "auditor"},
	"agreement.show": {"analyst", "data-officer", "approver", "auditor"},
	"agreement.export": {"data-officer", "auditor"},
	"agreement.revoke": {"data-officer", "approver"},
	"agreement.suspend": {"data-officer", "approver"},
	"agreement.resume": {"approver"},
	"agreement.amend": {"data-officer"},
	"agreement.fulfil": {"data-officer"},
	"fact.list": {"analyst", "data-officer", "approver", "auditor"},
	"fact.set": {"data-officer"},
	"collection.list": {"analyst", "data-officer", "approver", "auditor"},
	"collection.set": {"data-officer"},
	"partner.limit": {"operator"},
	"partner.list": {"operator", "data-officer"},
	"release.make": {"data-officer"},
	"release.list": {"data-officer", "approver"},
	"audit.read": {"auditor"},
	"audit.list": {"auditor"},
	"audit.show": {"auditor"},
	"audit.verify": {"auditor"},
	"audit.receipt": {"auditor"},
	"audit.extract": {"auditor"},
	"audit.export": {"auditor"},
	"audit.sql": {"auditor"},
	"audit.reconcile": {"auditor"},
	"audit.replay": {"auditor"},
	"audit.prune": {"operator"},
	"retention.set": {"data-officer"},
	"retention.show": {"auditor", "data-officer", "operator"},
	"audit.open": {"auditor"},
	"audit.erase": {"data-officer"},
	"user.list": {"operator", "data-officer"},
	"user.add": {"operator"},
	"user.remove": {"operator"},
	"user.resolve": {"auditor"},
	"user.grant": {"data-officer"},
	"user.ungrant": {"data-officer"},
	"authority.change": {"operator"},
	"key.list": {"operator", "auditor"},
	"key.rotate": {"operator"},
	"backup": {"operator"},
	"stop": {"operator"},
	"status": {"analyst", "data-officer", "approver", "auditor", "operator", "buyer"},
	"sovereignty.clauses": {"buyer"},
	"sovereignty.assess": {"buyer"},
}

precedence := ["role_missing", "agreement_not_granted", "purpose_not_granted"]

default decision := {"permit": false, "refused": [{"code": "evaluation_failed", "clause": "evaluation"}]}

decision := {"permit": false, "refused": [{"code": "evaluation_failed", "clause": "input"}]} if not well_formed

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

permit if {
	role_held
	input.action != "query"
}

permit if {
	role_held
	input.action == "query"
	agreement_granted
	purpose_granted
}

role_held if {
	some role in input.roles
	role in allowed[input.action]
}

agreement_granted if input.agreement in input.granted_agreements

purpose_granted if input.purpose in input.granted_purposes

reasons contains {"code": "role_missing", "clause": "roles"} if not role_held

reasons contains {"code": "agreement_not_granted", "clause": "granted_agreements"} if {
	input.action == "query"
	not agreement_granted
}

reasons contains {"code": "purpose_not_granted", "clause": "granted_purposes"} if {
	input.action == "query"
	not purpose_granted
}

well_formed if {
	texts(input.roles)
	is_string(input.action)
	texts(input.granted_agreements)
	texts(input.granted_purposes)
	optional_text(input, "agreement")
	optional_text(input, "purpose")
}

texts(value) if {
	is_array(value)
	every item in value {
		is_string(item)
	}
}

# A member that may be absent; present, it is a text.
optional_text(parent, key) if not key in object.keys(parent)

optional_text(parent, key) if is_string(parent[key])
