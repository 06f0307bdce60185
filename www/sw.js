// The service worker of the demo site: lets a page that was visited once open without a connection.
//
// It keeps the page's own small files, the WebAssembly module once used, and images once seen. It does not touch the
// model and the index: the library keeps those in caches of its own, whose names start with "data-attribution".

const SHELL_CACHE = "site-shell-v1";
const IMAGE_CACHE = "site-shell-images-v1";
const MOST_IMAGES = 4000;

const SHELL_NAME = /(\/|\.(html|css|js|wasm|svg)|\/(manifest|queries)\.json)$/;
const IMAGE_NAME = /\.(png|jpe?g|webp|gif|avif|bmp)$/i;
/** A name with a digest in it never changes its content. */
const CONTENT_NAMED = /[0-9a-f]{16,}[^/]*$/i;

const scope = new URL(self.registration.scope);

self.addEventListener("install", (event) => {
  const keep = async () => (await caches.open(SHELL_CACHE)).add("./");
  event.waitUntil(keep().then(() => self.skipWaiting()));
});

self.addEventListener("activate", (event) => {
  const tidy = async () => {
    const names = await caches.keys();
    const old = names.filter((name) => name.startsWith("site-shell-") && name !== SHELL_CACHE && name !== IMAGE_CACHE);
    await Promise.all(old.map((name) => caches.delete(name)));
    await self.clients.claim();
  };
  event.waitUntil(tidy());
});

// The page tells what it loaded before this worker was in control, so there is no list of files to keep up to date.
self.addEventListener("message", (event) => {
  if (event.data?.type !== "seen" || !Array.isArray(event.data.urls)) return;
  event.waitUntil(Promise.all(event.data.urls.map((url) => keepSeen(url).catch(() => {}))));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const kind = kindOf(request.url);
  if (request.method !== "GET" || request.headers.has("range") || kind === null) return;
  if (kind === "named-image") event.respondWith(cacheFirst(event, IMAGE_CACHE));
  else event.respondWith(networkFirst(event, kind === "image" ? IMAGE_CACHE : SHELL_CACHE));
});

/** "shell", "image", "named-image" (its name pins its content), or null for what is not this worker's. */
function kindOf(address) {
  const url = new URL(address);
  if (url.origin !== scope.origin || !url.pathname.startsWith(scope.pathname)) return null;
  if (IMAGE_NAME.test(url.pathname)) return CONTENT_NAMED.test(url.pathname) ? "named-image" : "image";
  return SHELL_NAME.test(url.pathname) ? "shell" : null;
}

async function keepSeen(address) {
  const kind = kindOf(address);
  if (kind === null) return;
  const cache = await caches.open(kind === "shell" ? SHELL_CACHE : IMAGE_CACHE);
  if (!(await cache.match(address))) await cache.add(address);
}

async function networkFirst(event, cacheName) {
  try {
    const response = await fetch(event.request);
    store(event, cacheName, response);
    return response;
  } catch (error) {
    const cache = await caches.open(cacheName);
    const kept = (await cache.match(event.request)) ?? (event.request.mode === "navigate" ? await cache.match("./") : undefined);
    if (kept) return kept;
    throw error;
  }
}

async function cacheFirst(event, cacheName) {
  const kept = await (await caches.open(cacheName)).match(event.request);
  if (kept) return kept;
  const response = await fetch(event.request);
  store(event, cacheName, response);
  return response;
}

/** Keeps a whole, successful answer; a full disk is no reason to fail the page. */
function store(event, cacheName, response) {
  if (response.status !== 200 || response.type !== "basic") return;
  const copy = response.clone();
  const keep = async () => {
    const cache = await caches.open(cacheName);
    await cache.put(event.request, copy);
    if (cacheName === IMAGE_CACHE) await trim(cache);
  };
  event.waitUntil(keep().catch(() => {}));
}

async function trim(cache) {
  const requests = await cache.keys();
  await Promise.all(requests.slice(0, Math.max(0, requests.length - MOST_IMAGES)).map((request) => cache.delete(request)));
}
