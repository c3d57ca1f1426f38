//! The words of this crate, in English and French: the sentence of each kind of finding, what may
//! be said of a directory, and the lines that the program prints.

mod sentences;

use perron_log::FindingKind;
pub use sentences::SENTENCES;

/// A language of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lang {
    /// English.
    En,
    /// French.
    Fr,
}

impl std::str::FromStr for Lang {
    type Err = String;
    fn from_str(text: &str) -> Result<Lang, String> {
        match text {
            "en" => Ok(Lang::En),
            "fr" => Ok(Lang::Fr),
            _ => Err("languages are fr and en".to_owned()),
        }
    }
}

/// A text of the catalogue with its parts, to be said in any language.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    key: &'static str,
    parts: Vec<Part>,
}

/// A part of a phrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it is.
    Text(String),
    /// Names, joined as the language joins them.
    Names(Vec<String>),
    /// Another text of the catalogue.
    Word(&'static str),
}

impl From<String> for Part {
    fn from(text: String) -> Part {
        Part::Text(text)
    }
}
impl From<&str> for Part {
    fn from(text: &str) -> Part {
        Part::Text(text.to_owned())
    }
}
impl From<u64> for Part {
    fn from(number: u64) -> Part {
        Part::Text(number.to_string())
    }
}

impl Phrase {
    /// The phrase of this key, with its parts in the order of `{0}`, `{1}`…
    pub fn new(key: &'static str, parts: Vec<Part>) -> Phrase {
        Phrase { key, parts }
    }

    /// The phrase in a language.
    pub fn text(&self, lang: Lang) -> String {
        let mut text = word(lang, self.key).to_owned();
        for (place, part) in self.parts.iter().enumerate() {
            let part = match part {
                Part::Text(text) => text.clone(),
                Part::Names(names) => join(names, word(lang, "and")),
                Part::Word(key) => word(lang, key).to_owned(),
            };
            text = text.replace(&format!("{{{place}}}"), &part);
        }
        text
    }
}

fn join(names: &[String], and: &str) -> String {
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} {and} {last}", rest.join(", ")),
        Some((only, _)) => only.clone(),
        None => String::new(),
    }
}

/// The text of a key; the key itself where there is none.
pub fn word(lang: Lang, key: &'static str) -> &'static str {
    let found = TEXTS.iter().find(|(name, _, _)| *name == key);
    found.map_or(key, |(_, en, fr)| match lang {
        Lang::En => en,
        Lang::Fr => fr,
    })
}

/// What a kind of finding means, in one sentence; empty for a kind that isn't in the catalogue.
pub fn sentence(kind: FindingKind, lang: Lang) -> &'static str {
    let found = SENTENCES.iter().find(|(known, _, _)| *known == kind);
    found.map_or("", |(_, en, fr)| match lang {
        Lang::En => en,
        Lang::Fr => fr,
    })
}

/// All keys of the catalogue, with the English and the French text.
pub const TEXTS: &[(&str, &str, &str)] = &[
    ("and", "and", "et"),
    ("to", "to", "à"),
    (
        "said.alone",
        "Nobody without this log's key changed it; its owner could have.",
        "Personne sans la clé de ce journal ne l'a modifié ; son détenteur l'aurait pu.",
    ),
    (
        "said.pruned",
        "{0} entries about single reads, of before {1}, were pruned under retention rule {2}; their hashes are left.",
        "{0} entrées sur des lectures, d'avant le {1}, furent élaguées selon la règle de conservation {2} ; leurs empreintes restent.",
    ),
    (
        "said.kept",
        "Unchanged up to entry {0} since {1}, as {2} saw it. Later entries are the owner's word.",
        "Inchangé jusqu'à l'entrée {0} depuis le {1}, tel que {2} l'a vu. Les entrées suivantes n'engagent que la parole du détenteur.",
    ),
    (
        "said.kept_undated",
        "Unchanged up to entry {0}, as {1} saw it at a time that its file doesn't tell. Later entries are the owner's word.",
        "Inchangé jusqu'à l'entrée {0}, tel que {1} l'a vu à un moment que son fichier ne dit pas. Les entrées suivantes n'engagent que la parole du détenteur.",
    ),
    (
        "said.quorum",
        "{0} saw one and the same history up to entry {1} at {2}.",
        "{0} ont vu une seule et même histoire jusqu'à l'entrée {1} le {2}.",
    ),
    (
        "said.final",
        "Final up to entry {0} at {1}, by the quorum of the policy: {2}. Later entries are the owner's word.",
        "Définitif jusqu'à l'entrée {0} le {1}, par le quorum de la politique : {2}. Les entrées suivantes n'engagent que la parole du détenteur.",
    ),
    (
        "said.final_unasked",
        "Final as it is: the policy asks for no witness.",
        "Définitif tel quel : la politique ne demande aucun témoin.",
    ),
    (
        "said.nothing",
        "Nothing may be said for this directory before its findings are explained.",
        "Rien ne peut être dit en faveur de ce répertoire avant que les constats soient expliqués.",
    ),
    (
        "said.succession",
        "This log took the place of `{0}`, which was closed after {1} entries; it names no larger head of that one.",
        "Ce journal a pris la place de `{0}`, clos après {1} entrées ; il n'en nomme aucune tête plus grande.",
    ),
    (
        "said.succession_lost",
        "This log took the place of `{0}`, which was closed after {1} entries: {2} entries at least are lost, as {3} held them.",
        "Ce journal a pris la place de `{0}`, clos après {1} entrées : {2} entrées au moins sont perdues, telles que {3} les détenai(en)t.",
    ),
    (
        "said.succession_contradicted",
        "Of `{0}`, {1} held other entries than those that it was closed with.",
        "De `{0}`, {1} détenai(en)t d'autres entrées que celles avec lesquelles il fut clos.",
    ),
    (
        "said.succession_later",
        "{1} holds a head of {2} entries of `{0}`, more than was told when that log was closed: it says that they couldn't be asked then. Ask them whether that is so.",
        "{1} détient une tête de {2} entrées de `{0}`, davantage que ce qui fut dit à la clôture de ce journal : selon lui, la question n'a pu leur être posée. Demandez-leur si c'est exact.",
    ),
    (
        "unsaid.succession",
        "What entries that `{0}` lost said; and whether it lost more than others are named to hold.",
        "Ce que disaient les entrées que `{0}` a perdues ; et s'il en a perdu davantage que ce que d'autres, nommés, en détenaient.",
    ),
    (
        "unsaid.succession_silent",
        "What {1} held of `{0}`: when it was closed they couldn't be asked.",
        "Ce que {1} détenai(en)t de `{0}` : à sa clôture, la question n'a pu leur être posée.",
    ),
    (
        "said.key_alone",
        "`{0}` signs {1} since {2} by the key {3}, by the authority alone: no key before it consented.",
        "`{0}` signe {1} depuis {2} avec la clé {3}, par l'autorité seule : aucune clé précédente n'a consenti.",
    ),
    (
        "said.keys_alone",
        "In all, {0} keys are in the register by the authority alone.",
        "En tout, {0} clés sont au registre par l'autorité seule.",
    ),
    ("use.agreement", "agreements", "les accords"),
    ("use.request", "read requests", "les demandes de lecture"),
    ("use.log", "its log", "son journal"),
    ("use.witness", "cosignatures", "les cosignatures"),
    ("use.register", "the register", "le registre"),
    (
        "unsaid.undated",
        "When {0} documents were signed, the first at entry {1}: signed by this key, time not proven. The key has ended since, and no third party had cosigned them before.",
        "Quand {0} documents furent signés, le premier à l'entrée {1} : signé par cette clé, date non prouvée. La clé a pris fin depuis, et aucun tiers ne les avait cosignés avant.",
    ),
    (
        "receipt.undated",
        "When `{0}` signed: signed by this key, time not proven. The key has ended since, and this receipt shows no third party that had seen the signature before.",
        "Quand `{0}` a signé : signé par cette clé, date non prouvée. La clé a pris fin depuis, et ce reçu ne montre aucun tiers qui ait vu la signature avant.",
    ),
    (
        "unsaid.alone",
        "Whether the owner rewrote the log: nobody else's checkpoint of it was among the files.",
        "Si le détenteur a réécrit le journal : aucun jalon gardé par un tiers ne figurait parmi les fichiers.",
    ),
    (
        "unsaid.final",
        "That it is final: the quorum of the policy has cosigned nothing of it.",
        "Qu'il soit définitif : le quorum de la politique n'en a rien cosigné.",
    ),
    (
        "unsaid.final_another",
        "That it is final: the policy is about other logs.",
        "Qu'il soit définitif : la politique porte sur d'autres journaux.",
    ),
    (
        "unsaid.unnamed",
        "Who cosigned {0} heads: no register names these witnesses; a policy does (--policy).",
        "Qui a cosigné {0} jalons : aucun registre ne nomme ces témoins ; une politique le fait (--policy).",
    ),
    (
        "unsaid.nothing_given",
        "What was given to compare with holds no checkpoint of this log: {0}.",
        "Ce qui a été donné pour comparer ne contient aucun jalon de ce journal : {0}.",
    ),
    (
        "unsaid.later",
        "Whether anything was appended later, or lay beyond what others saw: a cut of the newest entries shows only against a checkpoint of them.",
        "Si quelque chose fut ajouté ensuite, ou se trouvait au-delà de ce que d'autres ont vu : une coupe des dernières entrées ne se voit que face à un jalon qui les couvre.",
    ),
    (
        "unsaid.reads",
        "Whether all reads are in the log, and what became of the data afterwards.",
        "Si toutes les lectures sont dans le journal, et ce que les données sont devenues ensuite.",
    ),
    (
        "unsaid.replay",
        "Whether the policies would decide the same again: the inputs are bound and compared, not evaluated.",
        "Si les politiques décideraient de même : les données d'entrée sont liées et comparées, non évaluées.",
    ),
    (
        "unsaid.streams",
        "What the answers held: stream roots, statements, summaries of refusals and released tables are commitments whose openings lie elsewhere.",
        "Ce que contenaient les réponses : racines de flux, requêtes, résumés de refus et tables publiées sont des engagements dont l'ouverture se trouve ailleurs.",
    ),
    (
        "unsaid.key_time",
        "When a document was signed: a signature by a key that was revoked later says who, not when.",
        "Quand un document fut signé : une signature d'une clé révoquée plus tard dit qui, non quand.",
    ),
    (
        "unsaid.authority",
        "Whether the authority's key is the right one: it is the directory's own; compare it with one had from elsewhere (--authority).",
        "Si la clé de l'autorité est la bonne : c'est celle du répertoire même ; comparez-la à une clé obtenue ailleurs (--authority).",
    ),
    (
        "unsaid.log",
        "Anything about the log: without a verified register there is no key to verify it by.",
        "Quoi que ce soit sur le journal : sans registre vérifié, il n'y a pas de clé pour le vérifier.",
    ),
    (
        "unsaid.open_reads",
        "How {0} permitted reads ended: they have no outcome yet.",
        "Comment {0} lectures permises ont fini : elles n'ont pas encore d'issue.",
    ),
    (
        "unsaid.sealed",
        "What {0} sealed values say: their keys are not part of the evidence. {1} of them were erased, as the log tells.",
        "Ce que disent {0} valeurs scellées : leurs clés ne font pas partie des preuves. {1} d'entre elles furent effacées, comme le dit le journal.",
    ),
    (
        "unsaid.disputed",
        "Who is right in {0} reads, the first at entry {1}: their signed requests tell of entries that this log's chain doesn't have.",
        "Qui a raison pour {0} lectures, la première à l'entrée {1} : leurs demandes signées parlent d'entrées que la chaîne de ce journal n'a pas.",
    ),
    (
        "unsaid.ahead",
        "When the kept checkpoint of `{0}` came: it is newer than the log's entries about it.",
        "Quand le jalon gardé de `{0}` est arrivé : il est plus récent que les entrées du journal à son sujet.",
    ),
    (
        "unsaid.partner",
        "What `{0}` kept in its own log: that log doesn't verify, and only its newest kept checkpoint was compared.",
        "Ce que `{0}` a gardé dans son propre journal : ce journal ne se vérifie pas, et seul son dernier jalon gardé fut comparé.",
    ),
    (
        "unsaid.pruned",
        "What pruned entries said, and whether they were of the processing activities that their owner names.",
        "Ce que disaient les entrées élaguées, et si elles relevaient des activités de traitement que nomme leur détenteur.",
    ),
    (
        "unsaid.too_many",
        "The chains of {0} entries: more agreements, negotiations or open reads than are followed at a time.",
        "Les chaînes de {0} entrées : plus d'accords, de négociations ou de lectures ouvertes que n'en suit une vérification.",
    ),
    (
        "receipt.permitted",
        "On {0}, `{1}` permitted `{2}` (user {3}) to read `{4}` for {5}: entry {6} of its log.",
        "Le {0}, `{1}` a permis à `{2}` (utilisateur {3}) de lire `{4}` pour {5} : entrée {6} de son journal.",
    ),
    (
        "receipt.refused",
        "On {0}, `{1}` refused `{2}` (user {3}) a read of `{4}` for {5}, for {7}: entry {6} of its log.",
        "Le {0}, `{1}` a refusé à `{2}` (utilisateur {3}) une lecture de `{4}` pour {5}, pour {7} : entrée {6} de son journal.",
    ),
    (
        "receipt.ended",
        "It ended: {0}; {1} rows and {2} bytes left: entry {3}.",
        "Elle a fini : {0} ; {1} lignes et {2} octets sont sortis : entrée {3}.",
    ),
    (
        "receipt.runs",
        "How it ended isn't in the receipt: it was made while the read ran.",
        "La façon dont elle a fini n'est pas dans le reçu : il fut fait pendant la lecture.",
    ),
    (
        "receipt.agreed",
        "It was read under the agreement {0}, which both signed, on the legal basis {1}.",
        "La lecture relève de l'accord {0}, que les deux ont signé, sur la base légale {1}.",
    ),
    (
        "receipt.signed",
        "`{0}` signed the request; `{1}` signed the log of {2} entries that holds the answer.",
        "`{0}` a signé la demande ; `{1}` a signé le journal de {2} entrées qui contient la réponse.",
    ),
    ("receipt.cosigned", "`{0}` signed that it saw that log at {1}.", "`{0}` a signé avoir vu ce journal le {1}."),
    (
        "receipt.not_cosigned",
        "Whether the log of `{0}` still has it: nobody else's signature is on the receipt. Compare it with the log.",
        "Si le journal de `{0}` le contient encore : aucune autre signature n'est sur le reçu. Comparez-le au journal.",
    ),
    (
        "receipt.unsaid",
        "What the rows were, and whether there were other reads.",
        "Ce qu'étaient les lignes, et s'il y eut d'autres lectures.",
    ),
    ("receipt.invalid", "The receipt doesn't hold: {0}", "Le reçu ne tient pas : {0}"),
    (
        "extract.given",
        "`{0}` made out for `{1}` the chain of the agreement {2}: {3} entries, {4} to {5} of its log, none missing between them; it signed that log of {6} entries.",
        "`{0}` a établi pour `{1}` la chaîne de l'accord {2} : {3} entrées, de {4} à {5} de son journal, sans qu'il en manque entre elles ; il a signé ce journal de {6} entrées.",
    ),
    (
        "extract.reads",
        "It permitted {0} reads and refused {1}; {2} rows left.",
        "Il a permis {0} lectures et en a refusé {1} ; {2} lignes sont sorties.",
    ),
    (
        "extract.unsaid",
        "What the log says of others, what came after, and whether another chain was shown to someone else: compare it with the other side's.",
        "Ce que le journal dit d'autrui, ce qui a suivi, et si une autre chaîne fut montrée à quelqu'un d'autre : comparez-le à celui de l'autre partie.",
    ),
    ("extract.invalid", "The extract doesn't hold: {0}", "L'extrait ne tient pas : {0}"),
    (
        "reconciled.same",
        "Both sides tell {0} reads and {1} notices alike.",
        "Les deux parties rapportent de même {0} lectures et {1} avis.",
    ),
    (
        "reconciled.apart",
        "Not compared: {0} requests without an answer, {1} reads without an end, {2} too new for the other extract.",
        "Non comparés : {0} demandes sans réponse, {1} lectures sans fin, {2} trop récents pour l'autre extrait.",
    ),
    (
        "reconciled.differs",
        "{0}: entry {1} of the provider, entry {2} of the consumer.",
        "{0} : entrée {1} du fournisseur, entrée {2} du consommateur.",
    ),
    (
        "difference.history-differs",
        "What the partner's log signed contradicts a checkpoint of it that is kept",
        "Ce que le journal du partenaire a signé contredit un jalon de lui qui est gardé",
    ),
    (
        "difference.extract-older",
        "The partner was asked for an extract, and gave one from before",
        "Le partenaire, à qui un extrait fut demandé, en a donné un d'avant",
    ),
    ("reconciled.left_out", "{0} further differences are not shown.", "{0} autres différences ne sont pas montrées."),
    (
        "difference.request-missing",
        "The provider decided about a request that the consumer's chain doesn't tell of",
        "Le fournisseur a statué sur une demande dont la chaîne du consommateur ne dit rien",
    ),
    (
        "difference.decision-missing",
        "The consumer holds a decision that the provider's chain doesn't have",
        "Le consommateur détient une décision que la chaîne du fournisseur n'a pas",
    ),
    (
        "difference.outcome-missing",
        "The consumer holds an outcome that the provider's chain doesn't have",
        "Le consommateur détient une issue que la chaîne du fournisseur n'a pas",
    ),
    (
        "difference.refusal-differs",
        "One side tells of an answer, the other of a refusal",
        "Une partie rapporte une réponse, l'autre un refus",
    ),
    (
        "difference.answer-differs",
        "Rows, messages or stream root are not the same",
        "Les lignes, les messages ou l'empreinte du flux diffèrent",
    ),
    (
        "difference.notice-missing",
        "One chain has a notice that the other lacks",
        "Une chaîne contient un avis que l'autre n'a pas",
    ),
    ("status.complete", "complete", "complète"),
    ("status.cut-by-consumer", "cut by who asked", "interrompue par le demandeur"),
    (
        "status.cut-by-revocation",
        "cut, for a party or the agreement was no longer in force",
        "interrompue, car une partie ou l'accord n'était plus en vigueur",
    ),
    ("status.cut-by-error", "cut by an error", "interrompue par une erreur"),
    ("status.nothing-left", "nothing left", "rien n'est sorti"),
    (
        "status.unknown-after-crash",
        "unknown, after a crash of the provider",
        "inconnu, après un arrêt brutal du fournisseur",
    ),
    ("line.head", "`{0}` in `{1}`: {2} entries, {3}", "`{0}` dans `{1}` : {2} entrées, {3}"),
    ("line.authority.given", "authority's key {0} (given)", "clé de l'autorité {0} (donnée)"),
    (
        "line.authority.directory",
        "authority's key {0} (the directory's own)",
        "clé de l'autorité {0} (celle du répertoire)",
    ),
    ("line.signatures", "signatures checked: {0}", "signatures vérifiées : {0}"),
    ("line.compared", "checkpoints of others compared: {0}", "jalons de tiers comparés : {0}"),
    ("line.findings", "findings:", "constats :"),
    ("line.left_out", "{0} further findings are not shown", "{0} autres constats ne sont pas montrés"),
    ("line.entry", "entry {0}", "entrée {0}"),
    ("line.byte", "byte {0}", "octet {0}"),
    ("line.said", "what may be said:", "ce qui peut être dit :"),
    ("line.unsaid", "what these files can't show:", "ce que ces fichiers ne montrent pas :"),
    ("outcome.ok", "nothing found", "rien à constater"),
    ("outcome.behind", "derived files lag behind", "des fichiers dérivés sont en retard"),
    ("outcome.unfinished", "an interrupted write", "une écriture interrompue"),
    ("outcome.damaged", "DAMAGED", "ENDOMMAGÉ"),
    ("outcome.tampered", "TAMPERED", "FALSIFIÉ"),
    ("outcome.tail-lost", "ENTRIES ARE GONE", "DES ENTRÉES ONT DISPARU"),
    ("signature.checkpoint", "checkpoints", "jalons"),
    ("signature.cosignature", "cosignatures", "cosignatures"),
    ("signature.register", "register", "registre"),
    ("signature.envelope", "agreements", "accords"),
    ("signature.notice", "notices", "avis"),
    ("signature.retention", "retention rules", "règles de conservation"),
    ("signature.request", "read requests", "demandes de lecture"),
    ("signature.receipt", "receipts", "reçus"),
    ("error.usage", "can't verify: {0}", "vérification impossible : {0}"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn placeholders(text: &str) -> Vec<&str> {
        let mut found: Vec<&str> = text.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn both_languages_are_complete_with_the_same_placeholders() {
        for (at, (key, en, fr)) in TEXTS.iter().enumerate() {
            assert!(!en.trim().is_empty() && !fr.trim().is_empty(), "{key}");
            assert_eq!(placeholders(en), placeholders(fr), "{key}");
            assert!(TEXTS.iter().skip(at + 1).all(|(other, _, _)| other != key), "{key} stands twice");
        }
    }

    #[test]
    fn every_kind_of_finding_has_its_sentence_in_both_languages() {
        for kind in FindingKind::ALL {
            assert_eq!(SENTENCES.iter().filter(|(k, _, _)| *k == kind).count(), 1, "{kind}");
            assert!(sentence(kind, Lang::En).ends_with('.') && sentence(kind, Lang::Fr).ends_with('.'), "{kind}");
        }
    }

    #[test]
    fn names_are_joined_as_each_language_joins_them() {
        let names = ["a", "b", "c"].map(str::to_owned).to_vec();
        let phrase = Phrase::new("said.quorum", vec![Part::Names(names), 4.into(), "T".into()]);
        assert!(phrase.text(Lang::En).starts_with("a, b and c saw"));
        assert!(phrase.text(Lang::Fr).starts_with("a, b et c ont vu"));
    }
}
