// Requests to the server: an error is its message, a newer one of its kind ends an older.

const running = new Map();

export class Superseded extends Error {}

export async function ask(kind, url, options = {}) {
  running.get(kind)?.abort();
  const controller = new AbortController();
  running.set(kind, controller);
  try {
    return await answer(url, { ...options, signal: controller.signal });
  } finally {
    if (running.get(kind) === controller) running.delete(kind);
  }
}

async function answer(url, options) {
  let response;
  try {
    response = await fetch(url, options);
    if (response.ok) {
      const isPicture = response.headers.get("content-type") === "image/png";
      return isPicture ? await response.blob() : await response.json();
    }
  } catch (error) {
    if (error.name === "AbortError") throw new Superseded();
    throw new Error("the server does not answer; is it still running?");
  }
  const failed = "the server failed; its log says why";
  const said = await response.json().catch(() => ({ error: failed }));
  throw new Error(said.error);
}
