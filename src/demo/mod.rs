//! The demo's training set: works by 24 procedural artists, so that who influenced a query is known
//! by construction.
//!
//! Each artist has a palette, a stroke, a geometry and a texture of its own; the composition varies
//! with the number of the work. A work is a pure function of (artist, number): chance comes from a
//! counter-based generator, and sines and exponentials from `elementary`, not from the platform.

mod botanical;
mod canvas;
mod charts;
mod craft;
mod disturb;
mod elementary;
mod glass;
mod ground_truth;
mod illusions;
mod ink_branches;
mod koi;
mod landscapes;
mod learn;
mod line_work;
mod marbling;
mod modernists;
mod outline;
mod palette;
mod pieces;
mod prints;
mod random;
mod training_set;
mod watercolour;

use canvas::Canvas;
use image::RgbImage;
use rayon::prelude::*;

use crate::preprocess::Pixels;
pub use ground_truth::{GroundTruthFiles, write_ground_truth};
pub use learn::{HELD_OUT_PLOT, HeldOut, Learned, learn};
use random::Random;
pub use training_set::{FIRST_QUERY, GENERATOR_VERSION, WORKS_PER_ARTIST, write};

/// A style that paints any number of works.
#[derive(Debug, Clone, Copy)]
pub struct Artist {
    /// Name of the artist's folder: lower case, words joined by hyphens; unique.
    pub slug: &'static str,
    /// The style, as captions state it.
    pub name: &'static str,
    paint: fn(&mut Canvas, &Random),
}

macro_rules! artists {
    ($($slug:literal $name:literal $paint:path;)*) => {
        [$(Artist { slug: $slug, name: $name, paint: $paint }),*]
    };
}

/// The artists; the order is part of what their works look like, as the seed holds the place.
pub const ARTISTS: [Artist; 24] = artists! {
    "misty-mountains" "Misty Mountains" landscapes::misty_mountains;
    "night-city" "Night City" landscapes::night_city;
    "riso-sunsets" "Riso Sunsets" prints::riso_sunsets;
    "woodcut-hills" "Woodcut Hills" prints::woodcut_hills;
    "pointillist-shore" "Pointillist Shore" pieces::pointillist_shore;
    "stained-glass" "Stained Glass" glass::stained_glass;
    "mosaic-rosettes" "Mosaic Rosettes" pieces::mosaic;
    "ink-branches" "Ink Branches" ink_branches::ink_branches;
    "botanical-plates" "Botanical Plates" botanical::botanical_plates;
    "watercolour-blooms" "Watercolour Blooms" watercolour::watercolour_blooms;
    "koi-pond" "Koi Pond" koi::koi_pond;
    "bauhaus-tiles" "Bauhaus Tiles" modernists::bauhaus;
    "de-stijl" "De Stijl" modernists::de_stijl;
    "suprematist" "Suprematist" modernists::suprematist;
    "op-art" "Op Art" illusions::op_art;
    "isometric-towns" "Isometric Towns" illusions::isometric_towns;
    "truchet-ribbons" "Truchet Ribbons" illusions::truchet_ribbons;
    "cross-stitch" "Cross-Stitch" craft::cross_stitch;
    "paper-cut" "Paper Cut" craft::paper_cut;
    "marbled-paper" "Marbled Paper" marbling::marbled_paper;
    "flow-field" "Flow Field" line_work::flow_field;
    "contour-map" "Contour Map" charts::contour_map;
    "star-chart" "Star Chart" charts::star_chart;
    "strange-attractor" "Strange Attractor" line_work::strange_attractor;
};

/// Formats of the works, in pixels, all of about 110,000: landscape, portrait, square, wide.
const FORMATS: [(u32, u32); 5] = [(384, 288), (288, 384), (336, 336), (408, 272), (320, 352)];

/// Paints a work, the same to the bit each time. `artist` is an index into [`ARTISTS`], of which
/// one outside the list is taken modulo their number; every `work` number gives another picture.
/// sRGB, 272 to 408 pixels a side.
pub fn paint(artist: usize, work: u32) -> RgbImage {
    let artist = artist % ARTISTS.len();
    let random = Random::new(artist, work);
    let (width, height) = random.pick(&FORMATS);
    let mut canvas = Canvas::new(width, height);
    (ARTISTS[artist].paint)(&mut canvas, &random);
    canvas.finish(random.bits() as u32)
}

/// Number of the first work of [`samples`], beyond those of the training set and the queries.
const FIRST_SAMPLE: u32 = 1 << 20;

/// `count` works by all artists in turn, none of which is in the training set: images of many kinds,
/// for measurements that need some.
pub fn samples(count: usize) -> Vec<Pixels> {
    let paint_one = |i: usize| {
        let work = FIRST_SAMPLE + (i / ARTISTS.len()) as u32;
        let image = paint(i % ARTISTS.len(), work);
        Pixels {
            width: image.width(),
            height: image.height(),
            pixels: image.into_raw(),
        }
    };
    (0..count).into_par_iter().map(paint_one).collect()
}

/// The caption of a work, such as "Stained Glass, no. 12"; numbers start at 1.
pub fn title(artist: usize, work: u32) -> String {
    let name = ARTISTS[artist % ARTISTS.len()].name;
    format!("{name}, no. {}", u64::from(work) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn slugs_are_unique_folder_names() {
        let slugs: HashSet<_> = ARTISTS.iter().map(|a| a.slug).collect();
        assert_eq!(slugs.len(), ARTISTS.len());
        let plain = |b: u8| b.is_ascii_lowercase() || b == b'-';
        assert!(slugs.iter().all(|s| s.bytes().all(plain)));
    }

    #[test]
    fn a_work_is_a_function_of_artist_and_number() {
        let works: Vec<_> = (0..ARTISTS.len())
            .into_par_iter()
            .flat_map_iter(|artist| {
                let first = paint(artist, 0);
                assert_eq!(first, paint(artist, 0), "{}", ARTISTS[artist].slug);
                [first, paint(artist, FIRST_QUERY)].map(|picture| (artist, picture))
            })
            .collect();
        let mut seen = HashSet::new();
        for (artist, picture) in works {
            let slug = ARTISTS[artist].slug;
            assert!((272..=408).contains(&picture.width()), "{slug}");
            // A picture and not a plain sheet: its values vary.
            let bytes = picture.into_raw();
            let n = bytes.len() as f64;
            let mean = bytes.iter().map(|&b| f64::from(b)).sum::<f64>() / n;
            let square = |&b: &u8| (f64::from(b) - mean).powi(2);
            let deviation = (bytes.iter().map(square).sum::<f64>() / n).sqrt();
            assert!(deviation > 15.0, "{slug}: {deviation}");
            assert!(seen.insert(bytes), "{slug}: two works are the same");
        }
    }

    #[test]
    fn every_number_gives_another_work() {
        // The artist that is fastest: what differs is the seed, which all share.
        let fastest = ARTISTS.iter().position(|a| a.slug == "de-stijl").unwrap();
        let works: HashSet<_> = (0..WORKS_PER_ARTIST)
            .map(|work| paint(fastest, work).into_raw())
            .collect();
        assert_eq!(works.len(), WORKS_PER_ARTIST as usize);
    }

    #[test]
    fn captions_count_from_one() {
        assert_eq!(title(5, 11), "Stained Glass, no. 12");
    }
}
