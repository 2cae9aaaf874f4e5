//! Randomness as an argument: what one decision may draw.
