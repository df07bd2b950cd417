// @polkadot/api, unmodified, reading: connects, decodes metadata and signed blocks, follows heads.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { ApiPromise, WsProvider } from '@polkadot/api';
import { u8aToHex } from '@polkadot/util';
import { encodeAddress } from '@polkadot/util-crypto';
import { account, signTransaction, startNode } from './support.mjs';

const alice = account('alice');
const bob = account('bob');
const aliceAddress = encodeAddress(alice.id, 42);
const bobAddress = encodeAddress(bob.id, 42);
let node, api;

before(async () => {
  node = await startNode();
  api = await ApiPromise.create({ provider: new WsProvider(node.rpc), noInitWarn: true });
});
after(async () => {
  await api?.disconnect();
  assert.equal(await node?.stop(), 0, 'the node stops gracefully');
});

test('connects and reads metadata, properties and storage', async () => {
  assert.equal(api.genesisHash.toHex(), node.genesis);
  assert.equal(api.registry.chainTokens[0], 'X0T');
  assert.equal(api.registry.chainDecimals[0], 12);
  const entries = await api.query.system.account.entries();
  assert.ok(entries.some(([key]) => key.args[0].toString() === aliceAddress));
  const [methods, served] = [(await api.rpc.rpc.methods()).methods.map(String), ['state_getMetadata', 'chain_getBlock']];
  for (const name of served) assert.ok(methods.includes(name), name);
});

test('decodes a block that holds an ML-DSA-65 transaction', async () => {
  const signer = {
    signPayload: async (payload) => {
      const raw = api.registry.createType('ExtrinsicPayload', payload, { version: payload.version });
      return { id: 1, signature: u8aToHex(signTransaction(alice, raw.toU8a({ method: true }))) };
    },
  };
  // The library names the head as the birth block of an era, which holds for eras of at most 4096 blocks
  // only; its default follows the chain's 65536 block hashes and would sign another block's hash.
  const era = 64;
  const blockHash = await new Promise((resolve, reject) => {
    api.tx.balances.transferKeepAlive(bobAddress, 7_000_000_000).signAndSend(aliceAddress, { signer, era }, ({ status, isError, dispatchError }) => {
      if (dispatchError || isError) reject(new Error(dispatchError?.toString() ?? status.toString()));
      else if (status.isFinalized) resolve(status.asFinalized);
    }).catch(reject);
  });
  const { block } = await api.rpc.chain.getBlock(blockHash);
  const transfer = block.extrinsics.find((extrinsic) => extrinsic.isSigned);
  assert.equal(transfer.signer.toString(), aliceAddress);
  assert.equal(transfer.method.section, 'balances');
  const events = await (await api.at(blockHash)).query.system.events();
  assert.ok(events.some(({ event }) => event.section === 'balances' && event.method === 'Transfer'));
});

test('follows new and finalised heads', async () => {
  const follow = (subscribe) => new Promise((resolve, reject) => {
    const numbers = [];
    subscribe((head) => { numbers.push(head.number.toNumber()); if (numbers.length === 3) resolve(numbers); }).catch(reject);
    setTimeout(() => reject(new Error(`only ${numbers}`)), 60_000).unref();
  });
  for (const numbers of await Promise.all([
    follow((next) => api.rpc.chain.subscribeFinalizedHeads(next)),
    follow((next) => api.derive.chain.subscribeNewHeads(next)),
  ])) {
    assert.deepEqual(numbers.map((n) => n - numbers[0]), [0, 1, 2]);
  }
});

test('answers what wallets ask for a fee', async () => {
  const info = await api.tx.balances.transferKeepAlive(bobAddress, 12345).paymentInfo(aliceAddress);
  assert.ok(info.partialFee.toBigInt() > 0n);
});
