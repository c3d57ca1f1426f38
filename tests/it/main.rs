//! What has to hold of the whole: the habits of the source, the order of the rooms, the map, the
//! table of errors, and the program itself.

mod architecture;
mod arguments;
mod audit;
mod auditsql;
mod bad_input;
mod configuration;
mod counters;
mod demo;
mod dialling;
mod doctor;
mod edits;
mod errors;
mod export;
mod folder;
mod formats;
mod gone;
mod habits;
mod invariants;
mod kill;
mod lifecycle;
mod museum;
mod odrl_suite;
mod partners;
mod played;
mod policy_commands;
mod recovery;
mod retention;
mod rooms;
mod source;
mod standing;
mod store;
mod streaming;
mod tutorial;
mod witness;
mod world;
