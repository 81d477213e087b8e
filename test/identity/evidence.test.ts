import { createHash, randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { tpm2 } from '../../native/tpm2-js/test/tools.ts'
import { type Evidence, encodeEvidence } from '../../src/format/evidence.ts'
import { quoteQualifyingData } from '../../src/format/evidence-nonce.ts'
import { keyObjectOf, spkiDigest } from '../../src/format/tpm-key.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import { gatherEvidence } from '../../src/identity/evidence.ts'
import { createInstanceKeys, instanceTpm } from '../../src/identity/tpm.ts'
import { verifyEvidence } from '../../src/verify/index.ts'
import { startExtendingProxy } from '../harness/extending-proxy.ts'
import { pytss } from '../harness/pytss.ts'

/** Evidence as the agent makes it, on a real TPM. */

let stack: AsyncDisposableStack
let swtpm: Swtpm
beforeEach(async () => {
  stack = new AsyncDisposableStack()
  swtpm = await startSwtpm()
  stack.defer(() => swtpm.stop())
})
afterEach(() => stack.disposeAsync())

async function gather(
  nonce: Buffer,
  {
    tcti = swtpm.tcti,
    pcrs = [0, 7, 10, 16],
    hash = 'sha256' as const,
    bind = undefined as Buffer | undefined,
  } = {},
): Promise<Evidence> {
  const tpm = instanceTpm(tcti, 10_000)
  stack.defer(() => tpm.close())
  return gatherEvidence(tpm, await createInstanceKeys(tpm), {
    qualifier: { nonce, bind },
    dialect: 'aliyun',
    instanceId: 'i-bp1234567890abcdefgh',
    pcrs: { hash, pcrs },
    akCertificates: [],
    logs: async () => ({}),
    identityDocument: undefined,
  })
}

function verified(evidence: Evidence) {
  const ekPins = [spkiDigest(parsePublic(evidence.ek.public))]
  const bytes = Buffer.from(encodeEvidence(evidence))
  return verifyEvidence(bytes, {
    nonce: evidence.nonce,
    now: new Date(),
    trust: { ekPins },
    allowProvisional: true,
  })
}

describe('a PCR that moves between reading and quoting', () => {
  // 16 does not move the update counter on libtpms: its value has to be compared.
  test.each([
    [10, 1],
    [10, 2],
    [16, 1],
    [16, 2],
  ])('PCR %i, %i times: evidence is of what it became', async (pcr, times) => {
    const proxy = stack.use(await startExtendingProxy(swtpm))
    proxy.extendBeforeQuotes(pcr, times)
    const evidence = await gather(randomBytes(32), { tcti: proxy.tcti })
    expect(proxy.quotes()).toBe(times + 1)
    let value = Buffer.alloc(32)
    for (let extended = 0; extended < times; extended += 1) {
      value = createHash('sha256').update(value).update(Buffer.alloc(32, 0x5a)).digest()
    }
    expect(verified(evidence).pcrs.sha256?.[pcr]).toBe(value.toString('hex'))
  })

  test('every time is refused', async () => {
    const proxy = stack.use(await startExtendingProxy(swtpm))
    proxy.extendBeforeQuotes(10, Number.POSITIVE_INFINITY)
    const gathered = gather(randomBytes(32), { tcti: proxy.tcti })
    await expect(gathered).rejects.toMatchObject({ code: 'TPM_PCRS_MOVE' })
    expect(proxy.quotes()).toBe(3)
  })
})

describe('others accept the quote', () => {
  async function filesOf(evidence: Evidence) {
    const at = (name: string) => join(swtpm.dir, name)
    const key = keyObjectOf(parsePublic(evidence.ak.public))
    await writeFile(at('ak.pem'), key.export({ type: 'spki', format: 'pem' }))
    await writeFile(at('attest'), evidence.quote.attest)
    await writeFile(at('signature'), evidence.quote.signature)
    return {
      files: ['-u', at('ak.pem'), '-m', at('attest'), '-s', at('signature')],
      key: at('ak.pem'),
    }
  }

  test('tpm2_checkquote, for this nonce only', async () => {
    const nonce = randomBytes(16)
    const { files } = await filesOf(await gather(nonce))
    const extraData = quoteQualifyingData({ nonce }).toString('hex')
    await tpm2(swtpm, 'checkquote', ...files, '-q', extraData)
    const other = quoteQualifyingData({ nonce: randomBytes(16) }).toString('hex')
    await expect(tpm2(swtpm, 'checkquote', ...files, '-q', other)).rejects.toThrow()
  })

  test('tpm2-pytss, which reads the same PCR selection and digest', async () => {
    const evidence = await gather(randomBytes(64))
    const program = `
import json, sys
from tpm2_pytss import *
attest = bytes.fromhex(sys.argv[1])
signature, _ = TPMT_SIGNATURE.unmarshal(bytes.fromhex(sys.argv[2]))
public, _ = TPMT_PUBLIC.unmarshal(bytes.fromhex(sys.argv[3]))
signature.verify_signature(TPM2B_PUBLIC(publicArea=public), attest)
parsed, _ = TPMS_ATTEST.unmarshal(attest)
quote = parsed.attested.quote
print(json.dumps({
  'extraData': bytes(parsed.extraData).hex(),
  'selection': quote.pcrSelect.marshal().hex(),
  'digest': bytes(quote.pcrDigest).hex(),
}))`
    const { attest, signature } = evidence.quote
    const hex = [attest, signature, evidence.ak.public].map((bytes) => bytes.toString('hex'))
    const values = Object.values(evidence.pcrs.sha256 ?? {})
    expect(await pytss(program, ...hex)).toEqual({
      extraData: quoteQualifyingData(evidence).toString('hex'),
      // One selection: SHA-256, three bytes of PCR 0 and 7, 10, 16.
      selection: '00000001000b03810401',
      digest: createHash('sha256').update(Buffer.concat(values)).digest('hex'),
    })
  })
})
