//! What a running attribution tells its host, in the form that JavaScript sees.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::device::Compute;
use crate::error::Result;
use crate::format::Manifest;

/// Progress, as a flat stream.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Event {
    /// The devices are being compared; this takes up to a few seconds.
    Choosing,
    /// The device was chosen.
    Device { device: String, reason: String },
    /// The index is known.
    Manifest { info: Info },
    /// Weights arrive.
    Model {
        loaded_bytes: u64,
        total_bytes: u64,
        cached_bytes: u64,
    },
    /// The query image was decoded.
    Preprocess { width: u32, height: u32 },
    /// The backbone starts part `step` of `steps`.
    Embed { step: usize, steps: usize },
    /// Shards arrive and are scored.
    Index {
        loaded_bytes: u64,
        total_bytes: u64,
        cached_bytes: u64,
        rows: u64,
        total_rows: u64,
    },
    /// The best rows so far; not final.
    Hits {
        hits: Vec<ResultHit>,
        rows: u64,
        total_rows: u64,
        completeness: Completeness,
    },
}

/// How much of the index an answer rests on, and what that is worth.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Completeness {
    /// Rows that were scored, of [`Completeness::rows`].
    pub rows_read: u64,
    pub rows: u64,
    /// Rows whose score is that of the fine rows, not of their codes.
    pub reranked: u64,
    /// Expected share of the true top k among the hits, 0 to 1.
    pub estimated_recall: f64,
    /// Whether the influences are those over all fine rows, with no estimate in them.
    pub influence_exact: bool,
}

impl Completeness {
    /// A ranking of `rows_read` of `rows` rows by fine rows alone.
    pub fn of_fine_rows(rows_read: u64, rows: u64) -> Self {
        Self {
            rows_read,
            rows,
            reranked: rows_read,
            estimated_recall: if rows == 0 {
                1.0
            } else {
                rows_read as f64 / rows as f64
            },
            influence_exact: rows_read == rows,
        }
    }
}

/// A training image in the ranking.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResultHit {
    /// From 1.
    pub rank: usize,
    /// Row of the index.
    pub id: u32,
    /// Path of the image in the training set.
    pub name: String,
    /// Cosine similarity.
    pub score: f32,
    /// Calibrated share of all influence; `None` while provisional.
    pub influence: Option<f64>,
    /// Ends of the interval that holds the influence with a probability of 95 %, by the rows before they were
    /// rounded for the index; of a flat index both are the influence itself.
    pub influence_low: Option<f64>,
    pub influence_high: Option<f64>,
    /// URL relative to the manifest.
    pub thumbnail: Option<String>,
    pub width: Option<u32>,
    pub height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Whatever else the index knows, as text, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

/// Milliseconds of the parts of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    pub decode_ms: f64,
    pub embed_ms: f64,
    pub score_ms: f64,
    pub total_ms: f64,
}

/// Facts of the opened index.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Info {
    pub title: String,
    pub description: String,
    pub backbone: String,
    pub dimension: usize,
    pub count: u64,
    /// `flat`, which is read whole, or `clustered`.
    pub structure: &'static str,
    pub device: String,
    pub device_reason: String,
    /// Bytes of tensors on the GPU, shared by all that is open; `None` on the CPU.
    pub device_bytes: Option<u64>,
    pub calibrator: CalibratorInfo,
    pub mapper: Option<String>,
    pub model_bytes: u64,
    pub index_bytes: u64,
}

/// The calibrator with its effective bias.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CalibratorInfo {
    pub inv_tau: f32,
    pub bias: f32,
    pub fitted: bool,
}

impl Info {
    /// What a page shows of `manifest` and the device.
    pub fn new(manifest: &Manifest, compute: &Compute, device_reason: &str) -> Self {
        Self {
            title: manifest.title.clone(),
            description: manifest.description.clone(),
            backbone: manifest.backbone.name.clone(),
            dimension: manifest.dimension,
            count: manifest.count,
            structure: match manifest.clusters {
                Some(_) => "clustered",
                None => "flat",
            },
            device: compute.name().into(),
            device_reason: device_reason.into(),
            device_bytes: compute.tensor_bytes(),
            calibrator: CalibratorInfo {
                inv_tau: manifest.calibrator.inv_tau,
                bias: manifest.calibrator.effective_bias(),
                fitted: manifest.calibrator.fitted,
            },
            mapper: manifest
                .synth_mapper
                .as_ref()
                .map(|mapper| mapper.name.clone()),
            model_bytes: manifest.totals.model_bytes,
            index_bytes: manifest.totals.index_bytes,
        }
    }
}

/// The surroundings of a query: the worker of a page, or the native tool.
#[allow(
    async_fn_in_trait,
    reason = "browser futures are not Send and need not be"
)]
pub trait Host {
    /// Takes note of `event`.
    fn event(&self, event: Event);
    /// A clock in milliseconds.
    fn now_ms(&self) -> f64;
    /// Lets other work run.
    ///
    /// # Errors
    /// [`crate::Error::Cancelled`] when the caller gave up.
    async fn breathe(&self) -> Result<()>;
}

/// A host that listens to nothing.
pub struct Silent;

impl Host for Silent {
    fn event(&self, _event: Event) {}

    fn now_ms(&self) -> f64 {
        crate::clock::now_ms()
    }

    async fn breathe(&self) -> Result<()> {
        Ok(())
    }
}
