//! Runs a statement over what a grant allows (DataFusion only here and in source).
