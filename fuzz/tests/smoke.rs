//! Aim: no target rots, and every committed input and its neighbourhood holds the properties. Method: each target runs
//! on each file of its corpus, then on a fixed number of changed ones, the same in every run.

use portcullis_fuzz::mutation::{Chance, mutated};
use portcullis_fuzz::{CANARY, TARGETS, Target};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Changed inputs per target; `PORTCULLIS_FUZZ_ROUNDS` sets another number.
const ROUNDS: usize = 4_000;

#[test]
fn every_target_holds_on_its_corpus_and_near_it() {
    let found: Vec<String> = TARGETS.iter().filter_map(|target| run(target, rounds()).err()).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_canary_is_found() {
    assert!(run(&CANARY, ROUNDS).is_err(), "a harness that misses the canary proves nothing");
}

#[test]
fn every_folder_of_the_corpus_belongs_to_a_target() {
    for folder in std::fs::read_dir(corpus("")).expect("the corpus is committed") {
        let name = folder.expect("readable").file_name().into_string().expect("named in UTF-8");
        assert!(portcullis_fuzz::target(&name).is_some(), "corpus/{name} belongs to no target");
    }
    let mut names: Vec<_> = TARGETS.iter().map(|(name, _)| name).collect();
    names.dedup();
    assert!(names.len() == TARGETS.len() && names.is_sorted(), "target names are sorted and none is there twice");
}

fn run((name, check): &Target, rounds: usize) -> Result<(), String> {
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "corpus/{name} needs at least one seed");
    // The name is part of the seed, so that targets with the same corpus see different changes.
    let mut chance = Chance::new(name.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into())));
    let changed = (0..rounds).map(|_| {
        let (input, other) = (chance.below(seeds.len()), chance.below(seeds.len()));
        mutated(&seeds[input], &seeds[other], &mut chance)
    });
    for input in seeds.iter().cloned().chain(changed) {
        catch_unwind(AssertUnwindSafe(|| check(&input)))
            .map_err(|_| format!("{name} fails on {:?}", input.escape_ascii().to_string()))?;
    }
    Ok(())
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let Ok(files) = std::fs::read_dir(corpus(name)) else { return Vec::new() };
    let mut paths: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("readable")).collect()
}

fn corpus(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

fn rounds() -> usize {
    std::env::var("PORTCULLIS_FUZZ_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().expect("a number"))
}
