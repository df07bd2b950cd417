// What the client tests share: a live development node, ML-DSA-65 keys and the transaction rule.
//
// Keys and signatures come from an independent implementation (@noble/post-quantum), so that a test
// that passes shows agreement between two implementations of FIPS 204.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ml_dsa65 } from '@noble/post-quantum/ml-dsa.js';
import { blake2b } from '@noble/hashes/blake2.js';

const utf8 = new TextEncoder();
export const concat = (...parts) => Uint8Array.from(Buffer.concat(parts.map((part) => Buffer.from(part))));
export const hex = (bytes) => '0x' + Buffer.from(bytes).toString('hex');
export const hash256 = (bytes) => blake2b(bytes, { dkLen: 32 });

/** The account that a development name stands for, with its key. */
export function account(name) {
  const seed = hash256(utf8.encode(`x0/dev/v1/${name}/account`));
  const { publicKey, secretKey } = ml_dsa65.keygen(seed);
  const id = hash256(concat(utf8.encode('x0/account/v1'), publicKey));
  return { id, publicKey, secretKey };
}

/** SCALE bytes of the signature enum's variant 3: the key inline, then the signature. */
export function signTransaction({ publicKey, secretKey }, payload) {
  const body = payload.length > 256 ? hash256(payload) : payload;
  const signature = ml_dsa65.sign(concat(utf8.encode('x0/tx/v1'), body), secretKey);
  return concat([3], publicKey, signature);
}

export function compactLength(n) {
  if (n < 64) return [n << 2];
  if (n < 16384) return [((n << 2) | 1) & 255, n >> 6];
  return [((n << 2) | 2) & 255, (n >> 6) & 255, (n >> 14) & 255, n >> 22];
}

function nodeBinary() {
  if (process.env.X0_NODE) return process.env.X0_NODE;
  const target = process.env.CARGO_TARGET_DIR
    ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'x0tta6bl4', 'target');
  return join(target, 'debug', 'x0-node');
}

/** Starts a development node in a folder of its own and waits until it serves. */
export async function startNode() {
  const folder = mkdtempSync(join(tmpdir(), 'x0-clients-'));
  const child = spawn(nodeBinary(), ['--dev', '--base-path', folder, '--rpc-port', '0'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let log = '';
  child.stderr.on('data', (chunk) => { log = (log + chunk).slice(-20000); });
  const ready = new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line.startsWith('READY ')) resolve(JSON.parse(line.slice(6)));
    });
    child.once('error', reject);
    child.once('exit', (code, signal) => reject(new Error(`x0-node ended early (${code ?? signal})\n${log}`)));
    setTimeout(() => reject(new Error(`x0-node was not ready in 60 s\n${log}`)), 60_000).unref();
  });
  const stop = async () => {
    const ended = new Promise((resolve) => child.once('exit', (code) => resolve(code)));
    child.kill('SIGTERM');
    const code = child.exitCode ?? (await ended);
    rmSync(folder, { recursive: true, force: true });
    return code;
  };
  try {
    return { ...(await ready), stop, log: () => log };
  } catch (error) {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}
