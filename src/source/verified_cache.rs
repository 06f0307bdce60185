//! Verified files in the browser's Cache API.
//!
//! The cache is a convenience: where it is absent, full or blocked, files are simply fetched again.
//! Whatever comes out is verified like a download; what does not verify is deleted, so that damage
//! heals itself. What is there is listed once, as asking for what is not takes as long as a request on a fast line. What was
//! downloaded is checked outside of the module's memory, as far as there is room there, and stored one file after the other beside the
//! work. When the browser's quota is full, the rows of fine files that were written longest ago make room;
//! when that is not enough, new files go without.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use futures_channel::oneshot;
use futures_util::lock::Mutex;
use js_sys::{Object, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{Cache, CacheStorage, Request, Response, TransformStream};

use super::browser_digest::{start_helper, verify, verify_beside};
use super::release::{release, taken};
use super::room::Room;
use super::transfer::{Land, Landed};
use crate::error::{Error, Result};
use crate::format::FileRef;

/// Name of the cache; rises with the format.
const CACHE_NAME: &str = "data-attribution-1";
/// Ends the URL under which rows of a fine file are kept; no host is asked for it.
const ROWS: &str = "?rows";

/// What the cache is known to hold, for all that this module has opened on it.
#[derive(Default)]
struct Listed {
    /// URLs of entries. One that is gone since is not found; one that another page has added since is fetched again.
    urls: HashSet<String>,
    /// Whether these are all that there were.
    all: bool,
    /// URLs of files that were verified and will be entries soon, and who waits for each.
    coming: HashMap<String, Vec<oneshot::Sender<()>>>,
}

thread_local! {
    static LISTED: RefCell<Listed> = RefCell::default();
    /// What all copies of downloads have.
    static ROOM: Room = Room::default();
    /// The right to store.
    static STORING: Arc<Mutex<()>> = Arc::default();
}

/// A handle to the cache, or to nothing.
#[derive(Clone)]
pub struct VerifiedCache {
    cache: Option<Cache>,
    /// Making room did not help: not tried again.
    full: Rc<Cell<bool>>,
}

impl VerifiedCache {
    /// Opens the cache of this origin, if there is one.
    pub async fn open() -> Self {
        Self {
            cache: Self::try_open().await,
            full: Rc::default(),
        }
    }

    async fn try_open() -> Option<Cache> {
        // `caches` exists in pages and workers alike, and only in secure contexts.
        let storage = Reflect::get(&js_sys::global(), &"caches".into()).ok()?;
        let storage: CacheStorage = storage.dyn_into().ok()?;
        settle(storage.open(CACHE_NAME)).await?.dyn_into().ok()
    }

    /// Whether files are stored, as far as is known.
    pub fn keeps(&self) -> bool {
        self.cache.is_some() && !self.full.get()
    }

    /// Lets copies of downloads have `bytes` together until they are stored: more files may be checked while others are stored.
    pub fn hold(&self, bytes: u64) {
        ROOM.with(|room| room.set_most(bytes));
        if bytes > 0 {
            start_helper();
        }
    }

    /// The verified bytes of `file`, stored under `url`.
    pub async fn get(&self, url: &str, file: &FileRef) -> Option<Vec<u8>> {
        let coming = LISTED.with_borrow_mut(|listed| {
            let waiting = listed.coming.get_mut(url)?;
            let (sender, stored) = oneshot::channel();
            waiting.push(sender);
            Some(stored)
        });
        if let Some(stored) = coming {
            // Ends with the storing, which nobody has to ask for.
            let _ = stored.await;
        }
        let bytes = self.entry(url).await?;
        if let Ok(bytes) = verify_beside(file, bytes).await {
            return Some(taken(&bytes));
        }
        self.delete(url).await;
        None
    }

    /// The entry of rows for the fine file at `url`, whatever it is.
    pub async fn get_rows(&self, url: &str) -> Option<Vec<u8>> {
        self.get_unpinned(&format!("{url}{ROWS}")).await
    }

    /// Stores an entry of rows for the fine file at `url`, or with `None` deletes it.
    pub async fn put_rows(&self, url: &str, entry: Option<&[u8]>) {
        let url = format!("{url}{ROWS}");
        match entry {
            Some(entry) => self.put(&url, &Uint8Array::from(entry)).await,
            None => self.delete(&url).await,
        }
    }

    /// The bytes stored under `url`, whatever they are.
    pub async fn get_unpinned(&self, url: &str) -> Option<Vec<u8>> {
        self.entry(url).await.as_ref().map(taken)
    }

    async fn entry(&self, url: &str) -> Option<Uint8Array> {
        let cache = self.cache.as_ref()?;
        if LISTED.with_borrow(|listed| listed.all && !listed.urls.contains(url)) {
            return None;
        }
        let response: Response = settle(cache.match_with_str(url)).await?.dyn_into().ok()?;
        let buffer = settle(response.array_buffer().ok()?).await?;
        Some(Uint8Array::new(&buffer))
    }

    /// Where downloads should land: one after the other has room outside of the module, or several at once.
    pub fn land(&self) -> Land {
        match ROOM.with(Room::is_wide) {
            true => Land::Outside,
            false => Land::Inside,
        }
    }

    /// What `landed`, once it is verified in its turn; it is stored under `url` beside what goes on then.
    ///
    /// # Errors
    /// Those of [`verify_beside`].
    pub async fn verified(&self, url: String, file: &FileRef, landed: Landed) -> Result<Vec<u8>> {
        let (sender, verified) = oneshot::channel();
        let (cache, file) = (self.clone(), file.clone());
        let (room, storing) = (ROOM.with(Room::clone), STORING.with(Arc::clone));
        // A task of its own: a reader whose turn has come may not be asked for long, or never, and all others would wait.
        spawn_local(async move {
            let held = room.take(file.bytes).await;
            let outcome = match landed {
                Landed::Outside(bytes) => {
                    verify_beside(&file, bytes).await.map(|bytes| (bytes, None))
                }
                Landed::Inside(inside) => {
                    let bytes = Uint8Array::from(&inside[..]);
                    match verify(&file, &bytes, Some(&inside)).await {
                        Ok(()) => Ok((bytes, Some(inside))),
                        Err(error) => {
                            release(&bytes);
                            Err(error)
                        }
                    }
                }
            };
            let (bytes, inside) = match outcome {
                Ok(sound) => sound,
                Err(error) => {
                    // The reader may have given up.
                    let _ = sender.send(Err(error));
                    return;
                }
            };
            LISTED.with_borrow_mut(|listed| {
                listed.coming.entry(url.clone()).or_default();
            });
            let _ = sender.send(Ok(inside.unwrap_or_else(|| bytes.to_vec())));
            let turn = storing.lock().await;
            cache.put(&url, &bytes).await;
            drop(turn);
            LISTED.with_borrow_mut(|listed| listed.coming.remove(&url));
            release(&bytes);
            drop(held);
        });
        verified.await.unwrap_or(Err(Error::Cancelled))
    }

    /// Waits until what was verified is stored, and holds nobody up.
    pub async fn settled(&self) {
        let coming: Vec<_> = LISTED.with_borrow_mut(|listed| {
            let waiting = listed.coming.values_mut().map(|waiting| {
                let (sender, stored) = oneshot::channel();
                waiting.push(sender);
                stored
            });
            waiting.collect()
        });
        for stored in coming {
            let _ = stored.await;
        }
    }

    /// Stores `bytes` under `url`; a full quota is no error.
    pub async fn put(&self, url: &str, bytes: &Uint8Array) {
        if self.try_put(url, bytes).await || self.full.get() {
            return;
        }
        let room = self.forget_oldest_rows().await;
        self.full.set(!room || !self.try_put(url, bytes).await);
    }

    async fn try_put(&self, url: &str, bytes: &Uint8Array) -> bool {
        let Some(cache) = &self.cache else {
            return true;
        };
        // Not every browser stores a stream.
        for response in [streamed, whole] {
            let Ok(response) = response(bytes) else {
                continue;
            };
            let put = cache.put_with_str(url, &response);
            if JsFuture::from(put).await.is_ok() {
                LISTED.with_borrow_mut(|listed| listed.urls.insert(url.into()));
                return true;
            }
        }
        false
    }

    async fn delete(&self, url: &str) {
        if let Some(cache) = &self.cache {
            settle(cache.delete_with_str(url)).await;
        }
    }

    /// Deletes the older half of the entries of rows; says whether there were any.
    async fn forget_oldest_rows(&self) -> bool {
        let Some(cache) = &self.cache else {
            return false;
        };
        // Keys come in the order in which entries were last written.
        let mut rows = self.entries().await.unwrap_or_default();
        rows.retain(|request| request.url().ends_with(ROWS));
        rows.truncate(rows.len().div_ceil(2));
        for request in &rows {
            settle(cache.delete_with_request(request)).await;
        }
        !rows.is_empty()
    }

    /// All entries; `None` where the browser lists none, as of very many.
    async fn entries(&self) -> Option<Vec<Request>> {
        let keys = settle(self.cache.as_ref()?.keys()).await?;
        let keys = js_sys::Array::from(&keys);
        Some(keys.iter().filter_map(|key| key.dyn_into().ok()).collect())
    }

    /// Deletes every entry whose URL `wanted` does not want; rows go with their file. Lists the others.
    pub async fn retain(&self, wanted: impl Fn(&str) -> bool) {
        let (Some(cache), Some(entries)) = (&self.cache, self.entries().await) else {
            return;
        };
        let mut kept = HashSet::new();
        for request in entries {
            let url = request.url();
            if wanted(url.strip_suffix(ROWS).unwrap_or(&url)) {
                kept.insert(url);
            } else {
                settle(cache.delete_with_request(&request)).await;
            }
        }
        LISTED.with_borrow_mut(|listed| {
            listed.urls.extend(kept);
            listed.all = true;
        });
    }
}

/// A response whose body is a copy of `bytes`.
fn whole(bytes: &Uint8Array) -> std::result::Result<Response, JsValue> {
    let array: &Object = bytes.as_ref();
    Response::new_with_opt_buffer_source(Some(array))
}

/// A response whose body is `bytes`, taken over as the browser stores it: of an array it would make two copies at once,
/// while everything else here waits.
///
/// # Errors
/// What the browser throws where it has no such streams.
fn streamed(bytes: &Uint8Array) -> std::result::Result<Response, JsValue> {
    let passage = TransformStream::new()?;
    let writer = passage.writable().get_writer()?;
    for written in [writer.write_with_chunk(bytes), writer.close()] {
        let written: JsValue = written.into();
        // Fails where the browser stores nothing, which shows elsewhere.
        spawn_local(async move {
            settle(written).await;
        });
    }
    Response::new_with_opt_readable_stream(Some(&passage.readable()))
}

/// The value of a promise; `None` when it is rejected or `undefined`.
pub(super) async fn settle<T: Into<JsValue>>(promise: T) -> Option<JsValue> {
    let promise: Promise = promise.into().dyn_into().ok()?;
    let value = JsFuture::from(promise).await.ok()?;
    (!value.is_undefined()).then_some(value)
}
