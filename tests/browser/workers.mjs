// Calls of the browser's own protocol to the workers of a page, for the benchmarks: the driver has them for pages alone.

/** The workers of the page of the session `ofPage`, from now on. */
export async function workersOf(ofPage) {
  const sessions = new Set(), waiting = new Map();
  let last = 0;
  ofPage.on("Target.attachedToTarget", ({ sessionId, targetInfo }) => targetInfo.type === "worker" && sessions.add(sessionId));
  ofPage.on("Target.detachedFromTarget", ({ sessionId }) => sessions.delete(sessionId));
  ofPage.on("Target.receivedMessageFromTarget", ({ message }) => {
    const { id, result } = JSON.parse(message);
    waiting.get(id)?.(result ?? null);
    waiting.delete(id);
  });
  await ofPage.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  const call = (sessionId, method, params) => new Promise((done) => {
    waiting.set(++last, done);
    ofPage.send("Target.sendMessageToTarget", { sessionId, message: JSON.stringify({ id: last, method, params }) }).catch(() => done(null));
  });
  /** The answers of all workers, null where one cannot answer. */
  return { all: (method, params = {}) => Promise.all([...sessions].map((id) => call(id, method, params))) };
}
