//! The sentence of each kind of finding.

use perron_log::FindingKind;

/// A kind, and its sentence in English and in French.
type Sentence = (FindingKind, &'static str, &'static str);

/// The sentence of each kind of finding, in English and French.
pub const SENTENCES: [Sentence; FindingKind::ALL.len()] = [
    (
        FindingKind::SegmentBytes,
        "A segment's bytes are not a record that follows the one before.",
        "Les octets d'un segment ne forment pas un enregistrement qui suit le précédent.",
    ),
    (
        FindingKind::EntryEncoding,
        "An entry is not in the one canonical encoding of an entry.",
        "Une entrée n'est pas dans l'unique encodage canonique d'une entrée.",
    ),
    (
        FindingKind::TreeRoot,
        "A signed checkpoint is not that of the entries before it.",
        "Un jalon signé n'est pas celui des entrées qui le précèdent.",
    ),
    (
        FindingKind::ChainGap,
        "The chain of an agreement lacks an entry, or has one that doesn't follow.",
        "Il manque une entrée à la chaîne d'un accord, ou l'une d'elles ne suit pas.",
    ),
    (
        FindingKind::Order,
        "An entry stands where it can't stand, or contradicts the entries before it.",
        "Une entrée se trouve où elle ne peut être, ou contredit les entrées qui la précèdent.",
    ),
    (
        FindingKind::TimeBackwards,
        "An entry is older than the one before it, and no clock jump is logged.",
        "Une entrée est plus ancienne que la précédente, sans saut d'horloge consigné.",
    ),
    (
        FindingKind::Signature,
        "A checkpoint's signature does not verify, or is by a key that is not the right one.",
        "La signature d'un jalon ne se vérifie pas, ou vient d'une clé qui n'est pas la bonne.",
    ),
    (
        FindingKind::Encoding,
        "A text is not in its one canonical spelling.",
        "Un texte n'est pas dans son unique graphie canonique.",
    ),
    (
        FindingKind::TileBytes,
        "A tile or entry bundle is not that of the entries.",
        "Une tuile ou un paquet d'entrées n'est pas celui des entrées.",
    ),
    (FindingKind::StrayFile, "A file lies where none has business.", "Un fichier se trouve où aucun n'a sa place."),
    (FindingKind::MissingFile, "A file that should be there is not.", "Un fichier qui devrait être là n'y est pas."),
    (
        FindingKind::Truncated,
        "The segments end before what was published.",
        "Les segments finissent avant ce qui fut publié.",
    ),
    (
        FindingKind::Fork,
        "Two signed checkpoints of one log contradict each other.",
        "Deux jalons signés d'un même journal se contredisent.",
    ),
    (
        FindingKind::Rewrite,
        "The log is not what it was when a kept checkpoint was signed.",
        "Le journal n'est plus ce qu'il était quand un jalon gardé fut signé.",
    ),
    (
        FindingKind::OlderState,
        "Something kept has seen more than there is: this is an older state.",
        "Un jalon gardé a vu davantage que ce qui est là : c'est un état ancien.",
    ),
    (
        FindingKind::Succession,
        "A log does not follow the one that it took the place of, as the register and its first entry tell.",
        "Un journal ne suit pas celui dont il a pris la place, tel que le registre et sa première entrée le disent.",
    ),
    (
        FindingKind::DocumentBytes,
        "A document is not the one that its entry binds, or says other than its entry.",
        "Un document n'est pas celui que lie son entrée, ou dit autre chose que son entrée.",
    ),
    (
        FindingKind::DocumentSignature,
        "A document's signature does not verify, or is not by who had to sign.",
        "La signature d'un document ne se vérifie pas, ou n'est pas de qui devait signer.",
    ),
    (
        FindingKind::PrunedWithoutRule,
        "Entries are pruned, and no signed retention rule allows it.",
        "Des entrées sont élaguées, et aucune règle de conservation signée ne le permet.",
    ),
    (
        FindingKind::KeyNotInForce,
        "A signature is by a key that was not in force when it was made.",
        "Une signature vient d'une clé qui n'était pas en vigueur quand elle fut faite.",
    ),
    (
        FindingKind::TornTail,
        "The last record is not whole, and nothing has seen it whole.",
        "Le dernier enregistrement n'est pas entier, et rien ne l'a vu entier.",
    ),
    (
        FindingKind::Unfinished,
        "A publication or a pruning was interrupted; opening the log mends it.",
        "Une publication ou un élagage fut interrompu ; ouvrir le journal y remédie.",
    ),
    (
        FindingKind::Behind,
        "The published checkpoint is older than the segments; opening the log mends it.",
        "Le jalon publié est plus ancien que les segments ; ouvrir le journal y remédie.",
    ),
];
