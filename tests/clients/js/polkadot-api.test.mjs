// polkadot-api, unmodified: connects, reads metadata and storage, follows finalised blocks, estimates
// a fee, and submits a transfer signed with ML-DSA-65 by a custom signer.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createClient } from 'polkadot-api';
import { getWsProvider } from 'polkadot-api/ws';
import { decAnyMetadata, unifyMetadata } from '@polkadot-api/substrate-bindings';
import { encodeAddress } from '@polkadot/util-crypto';
import { WebSocket } from 'ws';
import { account, compactLength, concat, signTransaction, startNode } from './support.mjs';

globalThis.WebSocket ??= WebSocket;
const alice = account('alice');
const bob = account('bob');
const aliceAddress = encodeAddress(alice.id, 42);
const bobAddress = encodeAddress(bob.id, 42);
let node, client, api;

before(async () => {
  node = await startNode();
  client = createClient(getWsProvider(node.rpc));
  api = client.getUnsafeApi();
});
after(async () => {
  client?.destroy();
  assert.equal(await node?.stop(), 0, 'the node stops gracefully');
});

/** A signer that writes the v4 extrinsic itself, since the library knows three classical schemes only. */
const signer = (from) => ({
  publicKey: from.id,
  signBytes: async () => { throw new Error('there is no signing of raw bytes'); },
  signTx: async (callData, extensions, metadata) => {
    const { extrinsic } = unifyMetadata(decAnyMetadata(metadata));
    const list = Array.isArray(extrinsic.signedExtensions[0]) ? extrinsic.signedExtensions[0] : extrinsic.signedExtensions;
    const names = list.map(({ identifier }) => identifier);
    const extra = names.map((name) => extensions[name].value);
    const implicit = names.map((name) => extensions[name].additionalSigned);
    const signature = signTransaction(from, concat(callData, ...extra, ...implicit));
    const body = concat([0x84, 0], from.id, signature, ...extra, callData);
    return concat(compactLength(body.length), body);
  },
});

test('reads chain, metadata and storage', async () => {
  const spec = await client.getChainSpecData();
  assert.equal(spec.genesisHash, node.genesis);
  const record = await api.query.System.Account.getValue(aliceAddress);
  assert.ok(record.data.free > 0n);
  const version = await api.constants.System.Version();
  assert.ok(version.spec_version >= 1);
  const entries = await api.query.System.Account.getEntries();
  assert.ok(entries.length >= 4);
});

test('estimates a fee and sees an ML-DSA-65 transfer finalised', async () => {
  const amount = 1_500_000_000_000n;
  const transfer = api.tx.Balances.transfer_keep_alive({ dest: { type: 'Id', value: bobAddress }, value: amount });
  const estimate = await transfer.getEstimatedFees(aliceAddress);
  const [aliceBefore, bobBefore] = await Promise.all(
    [aliceAddress, bobAddress].map(async (who) => (await api.query.System.Account.getValue(who)).data.free));

  const result = await new Promise((resolve, reject) => {
    transfer.signSubmitAndWatch(signer(alice)).subscribe({
      next: (event) => { if (event.type === 'finalized') resolve(event); },
      error: reject,
    });
  });
  assert.equal(result.ok, true, JSON.stringify(result.dispatchError));
  assert.ok(result.events.some(({ type, value }) => type === 'Balances' && value.type === 'Transfer'));

  const [aliceAfter, bobAfter] = await Promise.all(
    [aliceAddress, bobAddress].map(async (who) => (await api.query.System.Account.getValue(who)).data.free));
  assert.equal(bobAfter - bobBefore, amount);
  const fee = aliceBefore - aliceAfter - amount;
  assert.ok(fee > 0n);
  // The estimate is made with a placeholder signature; the chain adds the bytes that it lacks.
  assert.ok(estimate >= fee && estimate <= fee * 2n, `estimated ${estimate}, paid ${fee}`);
});

test('follows finalised blocks without a gap', async () => {
  const numbers = await new Promise((resolve, reject) => {
    const seen = [];
    const subscription = client.finalizedBlock$.subscribe({
      next: ({ number }) => {
        seen.push(number);
        if (seen.length === 3) { subscription.unsubscribe(); resolve(seen); }
      },
      error: reject,
    });
    setTimeout(() => reject(new Error(`only ${seen}`)), 60_000).unref();
  });
  assert.deepEqual(numbers.map((n) => n - numbers[0]), [0, 1, 2]);
});
