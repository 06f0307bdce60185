//! What is asked for before what came is worked on.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use data_attribution::Error;
use data_attribution::attribution::event::{Event, Host};
use data_attribution::attribution::{Ask, Attributor, Quality};
use data_attribution::device::DeviceChoice;
use data_attribution::format::FileRef;
use data_attribution::pack::MANIFEST;
use data_attribution::source::folder::Folder;
use data_attribution::source::{Fetched, RowRange, Source};

use crate::place::{Place, features};

type Log = Rc<RefCell<Vec<String>>>;

/// A folder that notes what it is asked for.
struct Noted {
    folder: Folder,
    log: Log,
    gives_ranges: bool,
}

impl Source for Noted {
    async fn read(&self, file: &FileRef, on_bytes: &dyn Fn(u64)) -> Result<Fetched, Error> {
        self.log.borrow_mut().push(file.file.clone());
        self.folder.read(file, on_bytes).await
    }

    async fn read_manifest(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.folder.read_manifest(name).await
    }

    async fn read_ranges(
        &self,
        file: &str,
        bytes: u64,
        ranges: &[RowRange],
    ) -> Result<Option<Vec<Vec<u8>>>, Error> {
        self.log.borrow_mut().push(file.into());
        self.folder.read_ranges(file, bytes, ranges).await
    }

    fn gives_ranges(&self) -> bool {
        self.gives_ranges
    }
}

/// Notes what was asked for when the first codes were scored.
struct Watch {
    log: Log,
    first: Cell<Option<usize>>,
}

impl Host for Watch {
    fn event(&self, event: Event) {
        if matches!(event, Event::Index { .. }) && self.first.get().is_none() {
            self.first.set(Some(self.log.borrow().len()));
        }
    }

    /// Nothing is shown on the way.
    fn now_ms(&self) -> f64 {
        0.0
    }

    async fn breathe(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Files asked for by a query, and how many of them before the first codes were scored.
fn asked(
    place: &Place,
    query: &[f32],
    quality: Quality,
    gives_ranges: bool,
) -> (Vec<String>, usize) {
    let log = Log::default();
    let source = Noted {
        folder: Folder::new(place.at("index")),
        log: log.clone(),
        gives_ranges,
    };
    let watch = Watch {
        log: log.clone(),
        first: Cell::new(None),
    };
    pollster::block_on(async {
        let attributor = Attributor::open(source, MANIFEST, DeviceChoice::Cpu, &watch).await;
        let attributor = attributor.unwrap();
        log.borrow_mut().clear();
        let ask = Ask { top_k: 50, quality };
        attributor
            .attribute_feature(query, ask, &watch)
            .await
            .unwrap();
    });
    (log.take(), watch.first.get().unwrap())
}

#[test]
fn the_next_file_is_asked_for_before_the_first_is_scored_but_not_in_fast() {
    let (rows, queries) = features(20_000, 1);
    let place = Place::pack("order", rows, ["30", "0"]);
    let of = |quality| {
        let (files, first) = asked(&place, &queries[0], quality, true);
        files[..first].to_vec()
    };
    let [codes, control] = of(Quality::Balanced).try_into().unwrap();
    assert!(
        codes.starts_with("coarse/") && control.starts_with("control/"),
        "{codes} {control}"
    );
    assert_eq!(of(Quality::Fast), [codes]);
}

#[test]
fn rows_that_may_be_wanted_come_with_the_first_where_there_are_ranges() {
    let (rows, queries) = features(20_000, 12);
    let place = Place::pack("ahead", rows, ["20", "-5"]);
    let ranges = |gives_ranges| -> Vec<usize> {
        let of = |query: &Vec<f32>| {
            asked(&place, query, Quality::Balanced, gives_ranges)
                .0
                .len()
        };
        queries.iter().map(of).collect()
    };
    assert_ne!(ranges(true), ranges(false), "nothing came ahead");
}
