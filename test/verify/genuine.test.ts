import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { openTpm, type Tpm } from 'tpm2-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { encodeEvidence } from '../../src/format/evidence.ts'
import { verifyEvidence } from '../../src/verify/index.ts'
import { gatherEvidence } from '../harness/evidence.ts'

/** Evidence of a TPM whose EK certificates swtpm_setup made, with its authority as anchor. */

interface Made {
  readonly swtpm: Swtpm
  readonly tpm: Tpm
}

/** By the size of its RSA EK. */
let made: { readonly 2048: Made; readonly 3072: Made }
beforeAll(async () => {
  const make = async (rsaBits: 2048 | 3072): Promise<Made> => {
    const swtpm = await startSwtpm({ setup: true, rsaBits })
    return { swtpm, tpm: await openTpm({ tcti: swtpm.tcti }) }
  }
  const [usual, large] = await Promise.all([make(2048), make(3072)])
  made = { 2048: usual, 3072: large }
})
afterAll(async () => {
  for (const { swtpm, tpm } of Object.values(made)) {
    await tpm.close()
    await swtpm.stop()
  }
})

describe('evidence of an EK with a certificate in NV', () => {
  test.each([
    ['P-384', 2048],
    ['RSA-2048', 2048],
    ['RSA-3072', 3072],
  ] as const)('%s', async (ekKind, rsaBits) => {
    const { swtpm, tpm } = made[rsaBits]
    const nonce = randomBytes(32)
    const evidence = await gatherEvidence(tpm, { nonce, ekKind })
    const anchors = await Promise.all(
      ['issuercert.pem', 'swtpm-localca-rootca-cert.pem'].map((file) =>
        readFile(`${swtpm.dir}/ca/${file}`),
      ),
    )
    const verified = verifyEvidence(Buffer.from(encodeEvidence(evidence)), {
      nonce,
      now: new Date(),
      allowProvisional: true,
      trust: { ekAnchors: anchors },
    })
    expect(verified.anchor.kind).toBe('ek-certificate')
  })
})
