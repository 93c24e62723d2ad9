/* SHA-256 of a file, apart from the page so that it stays quick, and without holding the file. */
import { sha256 } from "../vendor/noble-hashes/sha2.js";

const PIECE = 4 * 2 ** 20;

self.onmessage = async ({ data: file }) => {
  try {
    const whole = sha256.create();
    for (let at = 0; at < file.size; at += PIECE) {
      whole.update(new Uint8Array(await file.slice(at, at + PIECE).arrayBuffer()));
      self.postMessage({ done: Math.min(1, (at + PIECE) / file.size) });
    }
    const digest = Array.from(whole.digest(), (byte) => byte.toString(16).padStart(2, "0")).join("");
    self.postMessage({ digest });
  } catch (error) {
    self.postMessage({ error: String(error) });
  }
};
