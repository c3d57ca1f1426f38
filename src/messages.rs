//! The one catalogue of user text, French and English.
