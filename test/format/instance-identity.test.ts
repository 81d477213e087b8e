import { describe, expect, test } from 'vitest'
import { type InstanceIdentity, iidOf, keyContext } from '../../src/format/instance-identity.ts'
import { FIRST_GENERATION } from '../../src/token/revocations.ts'

/**
 * The literals were computed apart from this code, with Python's hashlib:
 *
 *   def d(parts):
 *       h = hashlib.sha256()
 *       for p in parts: h.update(struct.pack('>I', len(p)) + p)
 *       return h.digest()
 *   ek, ak, rk = (bytes.fromhex('000b' + x * 32) for x in ('11', '22', '33'))
 *   fields = [b'aliyun', b'i-bp1example', ek, ak, rk]
 *   iid = hashlib.sha256(b'metabind iid v1' + d(fields)).digest()[:16].hex()
 *   ctx = d(fields + [b'11111111-2222-4333-8444-555555555555', b'0' * 32]).hex()
 */
const IID = '43c436abd9b7812c833c4423dbfd40ab'
const CONTEXT = '053a8793a73ca1cf6dc47dcc0074339db06d13c08cd77921917034d865b0b958'

const BOOT_ID = '11111111-2222-4333-8444-555555555555'
const name = (byte: number) => Buffer.concat([Buffer.of(0x00, 0x0b), Buffer.alloc(32, byte)])
const IDENTITY: InstanceIdentity = {
  dialect: 'aliyun',
  instanceId: 'i-bp1example',
  ekName: name(0x11),
  akName: name(0x22),
  rkName: name(0x33),
}
const iid = (change: Partial<InstanceIdentity>) => iidOf({ ...IDENTITY, ...change }).toString('hex')
const context = (
  change: Partial<InstanceIdentity>,
  boot = BOOT_ID,
  generation = FIRST_GENERATION,
) => keyContext({ ...IDENTITY, ...change }, boot, generation).toString('hex')

test('the iid of fixed names', () => {
  expect(iid({})).toBe(IID)
})

test('the context of fixed names, boot and generation', () => {
  expect(context({})).toBe(CONTEXT)
})

describe.each([
  ['cloud', { dialect: 'aliyum' }],
  ['instance id', { instanceId: 'i-bp1exampl' }],
  ['EK', { ekName: name(0x12) }],
  ['AK', { akName: name(0x12) }],
  ['RK', { rkName: name(0x12) }],
  // Without lengths these would run together.
  ['border between two fields', { dialect: 'aliyuni', instanceId: '-bp1example' }],
  ['order of names', { ekName: name(0x22), akName: name(0x11) }],
] as const)('another %s', (_what, change) => {
  test('is another iid', () => expect(iid(change)).not.toBe(IID))
  test('is another context', () => expect(context(change)).not.toBe(CONTEXT))
})

test('another boot or generation is another context', () => {
  expect(context({}, BOOT_ID.replace('1', '2'))).not.toBe(CONTEXT)
  expect(context({}, BOOT_ID, 'f'.repeat(32))).not.toBe(CONTEXT)
})
