import { hkdfSync } from 'node:crypto'
import { openTpm } from 'tpm2-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { flushTools, heldHandles, tpm2 } from '../../native/tpm2-js/test/tools.ts'
import { keyContext } from '../../src/format/instance-identity.ts'
import {
  AK_TEMPLATE,
  BK_TEMPLATE,
  EK_TEMPLATES,
  RK_TEMPLATE,
  SK_TEMPLATE,
} from '../../src/format/tpm-templates.ts'
import { instanceTpm } from '../../src/identity/tpm.ts'
import { Secret } from '../../src/secret.ts'
import { FIRST_GENERATION, type Revocations } from '../../src/token/revocations.ts'
import { keysOnTpm, NOTHING_REVOKED, SALT } from '../harness/keys.ts'

const HOUR_MS = 3_600_000

let tpm: Swtpm
beforeAll(async () => {
  tpm = await startSwtpm()
})
afterAll(() => tpm.stop())

/** HMAC by the library alone: no session, no encryption, another connection. */
async function plainHmac(
  hierarchy: 'endorsement' | 'null',
  template: Buffer,
  message: Buffer,
): Promise<Buffer> {
  const opened = await openTpm({ tcti: tpm.tcti })
  try {
    return await opened.sequence(async (commands) => {
      const key = await commands.createPrimary(hierarchy, template)
      return Buffer.from(await commands.hmac(key, message))
    })
  } finally {
    await opened.close()
  }
}

test('K(epoch) is HKDF of the HMACs of RK and BK, computed anew from the definition', async () => {
  await using made = await keysOnTpm(tpm.tcti, 'i-vector')
  const keys = made.keys({ bootTimeMs: () => 3 * HOUR_MS })
  await keys.refresh()
  const context = keyContext(made.identity, 'a boot', FIRST_GENERATION)
  for (const epoch of [0, 3, 4]) {
    const counter = Buffer.alloc(8)
    counter.writeBigUInt64BE(BigInt(epoch))
    const message = Buffer.concat([Buffer.from('metabind token key v1'), context, counter])
    const material = Buffer.concat([
      await plainHmac('endorsement', RK_TEMPLATE, message),
      await plainHmac('null', BK_TEMPLATE, message),
    ])
    const expected = Buffer.from(hkdfSync('sha256', material, SALT, 'metabind token key v1', 32))
    expect(keys.key(epoch)).toEqual(expected)
  }
})

test('every one of the things that the keys are bound to changes them', async () => {
  await using made = await keysOnTpm(tpm.tcti, 'i-one')
  const keyOf = async (binding: Parameters<typeof made.keys>[0]) => {
    const keys = made.keys({ bootTimeMs: () => HOUR_MS, ...binding })
    await keys.refresh()
    return keys.key(1)?.toString('hex')
  }
  const other: Revocations = { ...NOTHING_REVOKED, generation: 'a'.repeat(32) }
  const all = [
    await keyOf({}),
    await keyOf({ bootId: 'another boot' }),
    await keyOf({ salt: new Secret(Buffer.alloc(32, 8)) }),
    await keyOf({ revocations: other }),
    await keyOf({ identity: { ...made.identity, instanceId: 'i-two' } }),
    await keyOf({ identity: { ...made.identity, dialect: 'ec2' } }),
  ]
  expect(new Set(all).size).toBe(all.length)
  expect(all).not.toContain(undefined)
  expect(await keyOf({})).toBe(all[0])
})

describe('revoking all', () => {
  test('wipes the old keys and has new ones at once', async () => {
    await using made = await keysOnTpm(tpm.tcti)
    let generation = FIRST_GENERATION
    const revocations: Revocations = {
      ...NOTHING_REVOKED,
      get generation() {
        return generation
      },
      revokeAll: () => {
        generation = 'b'.repeat(32)
      },
    }
    const keys = made.keys({ revocations, bootTimeMs: () => 0 })
    await keys.refresh()
    const old = keys.key(0)
    const before = old?.toString('hex')
    await keys.revokeAll()
    expect(old).toEqual(Buffer.alloc(32))
    expect(keys.isCurrent()).toBe(true)
    expect(keys.key(0)?.toString('hex')).not.toBe(before)
  })

  test('ends the old tokens even where new keys cannot be made', async () => {
    await using made = await keysOnTpm(tpm.tcti)
    const keys = made.keys({ bootTimeMs: () => 0 })
    await keys.refresh()
    const old = keys.key(0)
    await tpm.kill()
    await expect(keys.revokeAll()).rejects.toMatchObject({ code: 'TPM_FAULT' })
    await tpm.start()
    expect(old).toEqual(Buffer.alloc(32))
    expect(keys.key(0)).toBeUndefined()
    expect(keys.isCurrent()).toBe(false)
  })
})

describe('on the TPM', () => {
  test('the keys have the attributes and the place that they should', async () => {
    await using made = await keysOnTpm(tpm.tcti)
    const { ek, ak, sk, rk, bk, endorsement } = made.instanceKeys
    expect(endorsement).toMatchObject({ kind: EK_TEMPLATES[0]?.kind, certificates: [] })
    for (const key of [ek, ak, sk, rk, bk]) expect(key.name.readUInt16BE(0)).toBe(0x000b)
    expect(new Set([ek, ak, sk, rk, bk].map(({ name }) => name.toString('hex'))).size).toBe(5)
    // objectAttributes, Part 2, 8.3: fixedTPM fixedParent sensitiveDataOrigin userWithAuth noDA sign.
    const attributes = (area: Buffer) => area.readUInt32BE(4).toString(16)
    expect([ak, sk, rk, bk].map(({ publicArea }) => attributes(publicArea))).toEqual([
      ...['50472', '40472', '40472', '40472'],
    ])
    expect(attributes(ek.publicArea)).toBe('300b2')
  })

  test('tpm2_createek makes the same EK', async () => {
    await using made = await keysOnTpm(tpm.tcti)
    await tpm2(tpm, 'createek', '-G', 'ecc', '-c', 'ek.ctx', '-u', 'ek.pub')
    const shown = await tpm2(tpm, 'readpublic', '-c', 'ek.ctx')
    await flushTools(tpm)
    expect(/^name: ([0-9a-f]+)$/m.exec(shown)?.[1]).toBe(made.instanceKeys.ek.name.toString('hex'))
  })

  test('nothing is left loaded, after failures too', async () => {
    await using made = await keysOnTpm(tpm.tcti)
    const keys = made.keys()
    await keys.refresh()
    const own = instanceTpm(tpm.tcti, 10_000)
    const half = own.run(async (commands) => {
      await commands.createPrimary('endorsement', AK_TEMPLATE)
      await commands.createPrimary('null', SK_TEMPLATE)
      throw new Error('in the middle')
    })
    await expect(half).rejects.toThrow('in the middle')
    expect(await own.run(heldHandles)).toEqual([])
    await own.close()
  })

  test('it is reached again after it went away', async () => {
    const own = instanceTpm(tpm.tcti, 10_000)
    const random = () => own.run((commands) => commands.getRandom(8))
    await random()
    await tpm.kill()
    await expect(random()).rejects.toMatchObject({ code: 'TPM_FAULT' })
    await expect(random()).rejects.toMatchObject({ code: 'TPM_FAULT' })
    await tpm.start()
    expect(await random()).toHaveLength(8)
    await own.close()
  })

  test.each([
    ['swtpm:path=/nonexistent/socket', 'TPM_ABSENT'],
    ['device:/dev/no-such-tpm', 'TPM_ABSENT'],
    ['device:/dev/null', 'TPM_FAULT'],
    ['swtpm:path=/etc/passwd', 'TPM_FAULT'],
    ['nonsense:', 'TPM_FAULT'],
    ['', 'TPM_FAULT'],
  ])('reached through "%s" is %s', async (tcti, code) => {
    const own = instanceTpm(tcti, 1000)
    await expect(own.run((commands) => commands.getRandom(1))).rejects.toMatchObject({ code })
    await own.close()
  })
})

test('the EK with a certificate is preferred to the first kind', { timeout: 240_000 }, async () => {
  const manufactured = await startSwtpm({ setup: true })
  try {
    await using made = await keysOnTpm(manufactured.tcti)
    expect(made.instanceKeys.endorsement.kind).toBe('P-384')
  } finally {
    await manufactured.stop()
  }
})
