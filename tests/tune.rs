//! Tuning on ground truth that a mapper can make sense of; the loss itself has its golden values in
//! `src/tune/contrastive.rs`.
#![cfg(feature = "cli")]

use data_attribution::tune::{Training, TuneOptions, tune, write_tuning};

mod made;
use made::{Scratch, make};

fn tuning(scratch: &Scratch, shift: usize) -> TuneOptions {
    make(scratch, (60, 4, 300, 16), (0.5, shift));
    TuneOptions {
        truth: scratch.truth(),
        name: "toy".into(),
        backbone: None,
        seed: 1,
        validation: 0.2,
        training: Training {
            learning_rate: 0.003,
            weight_decay: 0.01,
            batch: 64,
            negatives: 64,
            epochs: 120,
            patience: 15,
            ..Training::default()
        },
    }
}

#[test]
fn tuning_undoes_a_rotation_on_entries_that_it_has_not_seen() {
    let scratch = Scratch::new("tune");
    let options = tuning(&scratch, 5);
    let found = tune(&options, &|_, _, _| {}).unwrap();
    println!(
        "{:?} {:?} kept {} of {}",
        found.before,
        found.after,
        found.kept,
        found.epochs.len()
    );
    assert_eq!((found.training_entries, found.validation_entries), (48, 12));
    let [_, before, _] = found.before.recall;
    let [_, after, _] = found.after.recall;
    assert!(before < 0.3 && after > 0.8, "{before} {after}");
    // The weights of the highest validation mAP are kept, and it is the one that is reported.
    let kept = found.epochs[found.kept].mean_average_precision;
    let others = found
        .epochs
        .iter()
        .map(|epoch| epoch.mean_average_precision);
    assert_eq!(others.fold(0.0, f64::max), kept);
    assert_eq!(found.after.mean_average_precision, kept);
    assert!(found.epochs.len() <= 121);
    // The same seed gives the same bytes.
    let again = tune(&options, &|_, _, _| {}).unwrap();
    assert_eq!(found.pair, again.pair);
    assert_eq!(found.epochs, again.epochs);
    let other = TuneOptions { seed: 2, ..options };
    assert_ne!(tune(&other, &|_, _, _| {}).unwrap().pair, found.pair);
    let paths = write_tuning(&found, &scratch.0.join("out")).unwrap();
    assert!(paths.iter().all(|path| path.is_file()));
}

#[test]
fn where_nothing_can_be_learned_the_identity_is_kept() {
    let scratch = Scratch::new("identity");
    let mut options = tuning(&scratch, 0);
    // A rate that wrecks the mapper in its first step.
    options.training.learning_rate = 10.0;
    options.training.patience = 3;
    let found = tune(&options, &|_, _, _| {}).unwrap();
    assert_eq!((found.kept, found.epochs.len()), (0, 4));
    assert_eq!(found.before, found.after);
    let side = &found.pair.real;
    assert!(side.bias.iter().all(|b| *b == 0.0));
    let identity = |at: usize| f32::from(u8::from(at.is_multiple_of(17)));
    assert!(
        side.weight
            .iter()
            .enumerate()
            .all(|(at, w)| *w == identity(at))
    );
}
