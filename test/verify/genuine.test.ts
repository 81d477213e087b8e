import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { openTpm, type Tpm } from 'tpm2-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { encodeEvidence } from '../../src/format/evidence.ts'
import { verifyEvidence } from '../../src/verify/index.ts'
import { gatherEvidence } from '../harness/evidence.ts'

/** Evidence of a TPM whose EK certificates swtpm_setup made, with its authority as anchor. */

let swtpm: Swtpm
let tpm: Tpm
beforeAll(async () => {
  swtpm = await startSwtpm({ setup: true })
  tpm = await openTpm({ tcti: swtpm.tcti })
})
afterAll(async () => {
  await tpm.close()
  await swtpm.stop()
})

describe('evidence of an EK with a certificate in NV', () => {
  test.each(['P-384', 'RSA-2048'] as const)('%s', async (ekKind) => {
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
