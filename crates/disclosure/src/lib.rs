//! Statistical disclosure control: what of a table may be released so that nobody is singled out.
//!
//! Rows are first gathered into what each data subject contributes to each *unit*, the finest
//! crossing of the dimensions that any table of the set uses ([`Gathering`]). Which cells of a new
//! table are given is decided over these contributions and over the cells that were released
//! before ([`protect`]); then the values of the cells that are given are worked out, rounded or
//! with noise ([`values`]). docs/DISCLOSURE.md says what this promises, and what it doesn't.
//!
//! No I/O, no clock; randomness comes in through [`Random`].

mod gather;
mod noise;
mod pairs;
mod protect;
mod values;

pub use gather::{Amount, Column, Contributions, Gathering, Key, Kind, NOBODY, Names, Values};
pub use noise::{Random, discrete_laplace};
pub use protect::{Family, Fate, Rule, protect};
pub use values::{Asked, Number, Statistic, roll_up, values};
