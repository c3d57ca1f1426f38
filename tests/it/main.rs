mod edits;
mod tutorial;
