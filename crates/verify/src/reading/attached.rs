//! What is attached to an entry, taken by what binds it.

use perron_log::LeafView;
use perron_model::entry::AttachmentKind;

/// The attachments of one entry that nothing has taken yet.
pub(super) struct Attached<'v>(Vec<(u16, &'v [u8])>);

impl<'v> Attached<'v> {
    pub fn new(view: &LeafView<'v>) -> Attached<'v> {
        Attached(view.attachments().collect())
    }

    /// Takes the first of a kind.
    pub fn take(&mut self, kind: AttachmentKind) -> Option<&'v [u8]> {
        let place = self.0.iter().position(|(k, _)| *k == kind as u16)?;
        Some(self.0.remove(place).1)
    }

    /// The first of a kind, left where it is.
    pub fn look(&self, kind: AttachmentKind) -> Option<&'v [u8]> {
        self.0.iter().find(|(k, _)| *k == kind as u16).map(|(_, bytes)| *bytes)
    }

    /// The kinds of those that nothing took: unknown ones among them.
    pub fn left(self) -> impl Iterator<Item = u16> {
        self.0.into_iter().map(|(kind, _)| kind)
    }
}

/// What an attachment is called in a finding.
pub(super) const fn name(kind: AttachmentKind) -> &'static str {
    match kind {
        AttachmentKind::Request => "read request",
        AttachmentKind::Envelope => "envelope",
        AttachmentKind::EvaluationInput => "evaluation's input",
        AttachmentKind::Checkpoint => "checkpoint",
        AttachmentKind::NegotiationMessage => "negotiation message",
        AttachmentKind::Document => "document",
        AttachmentKind::Register => "register version",
        AttachmentKind::Receipt => "receipt",
        AttachmentKind::Beside => "proof beside the request",
        AttachmentKind::Notice => "notice",
        AttachmentKind::Sealed => "sealed value",
    }
}
