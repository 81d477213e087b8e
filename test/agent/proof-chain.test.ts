import { expect, test } from 'vitest'
import { proofChain } from '../../src/agent/proof-chain.ts'
import type { StartupState } from '../../src/agent/startup.ts'
import { type ErrorCode, MetabindError } from '../../src/errors.ts'
import type { SelfTestResult } from '../../src/identity/self-test.ts'
import { CHECKS } from '../../src/verify/verify.ts'
import { VerifyError } from '../../src/verify/verify-error.ts'

const OPENING: StartupState = { at: 'opening-tpm' }
/** Of the whole state only the result of the self-test is looked at. */
const tested = (selfTest: SelfTestResult) => ({ at: 'ready', selfTest }) as StartupState
const verdicts = (...of: Parameters<typeof proofChain>) =>
  Object.fromEntries(proofChain(...of).map(({ name, verdict }) => [name, verdict]))

test('before the self-test nothing is proven', () => {
  expect(new Set(Object.values(verdicts(OPENING, undefined)))).toEqual(new Set(['not-proven']))
})

test('a machine with everything has every link, each with its sentence', () => {
  const links = proofChain(
    tested({
      anchor: 'ek-certificate',
      proven: ['ek-genuine', 'ak-in-tpm', 'instance-from-cloud'],
      lacked: [],
    }),
    undefined,
  )
  expect(links.map(({ name }) => name)).toEqual([
    'anchor',
    'EK',
    'AK',
    'RK',
    'BK',
    'SK',
    'document',
  ])
  expect(links.every(({ verdict, sentence }) => verdict === 'proven' && sentence !== '')).toBe(true)
  expect(new Set(links.map(({ sentence }) => sentence)).size).toBe(links.length)
})

test('one without an anchor and a document says so, and the keys are proven all the same', () => {
  const lacks: SelfTestResult = {
    anchor: 'none',
    proven: ['ak-in-tpm'],
    lacked: ['ek-genuine', 'instance-from-cloud'],
  }
  expect(verdicts(tested(lacks), undefined)).toEqual({
    ...{ anchor: 'not-proven', EK: 'not-proven', AK: 'proven', document: 'not-proven' },
    ...{ RK: 'proven', BK: 'proven', SK: 'proven' },
  })
})

const refusedBy = (problem: MetabindError) =>
  Object.entries(verdicts(OPENING, problem))
    .filter(([, verdict]) => verdict === 'refused')
    .map(([name]) => name)

test.each([
  ['endorsement', 'VERIFY_UNANCHORED', 'anchor'],
  ['endorsement', 'VERIFY_CERTIFICATE_ISSUER', 'anchor'],
  ['endorsement', 'VERIFY_CERTIFICATE_KEY', 'EK'],
  ['EK public area', 'VERIFY_EK_PUBLIC', 'EK'],
  ['EK certificate: instance', 'VERIFY_EK_INSTANCE', 'EK'],
  ['AK public area', 'VERIFY_AK_PUBLIC', 'AK'],
  ['activation', 'VERIFY_ACTIVATION', 'AK'],
  ['quote: signature', 'VERIFY_SIGNATURE', 'AK'],
  ['certification of RK: name', 'VERIFY_NAME', 'RK'],
  ['certification of BK: hierarchy', 'VERIFY_HIERARCHY', 'BK'],
  ['certification of SK: public area', 'VERIFY_KEY_PUBLIC', 'SK'],
  ['identity document: instance', 'VERIFY_DOCUMENT_INSTANCE', 'document'],
] as const)('what the check %s refuses with %s is refused at %s', (check, code, link) => {
  expect(refusedBy(new VerifyError(code, check))).toEqual([link])
})

test.each([
  ['TPM_OTHER', 'EK'],
  ['ACTIVATION_OTHER', 'AK'],
  ['SOURCE_OTHER', 'document'],
] as const)('%s is refused at %s', (code, link) => {
  expect(refusedBy(new MetabindError(code))).toEqual([link])
})

test('every check of evidence is about a link', () => {
  for (const { name, codes } of CHECKS) {
    for (const code of codes) expect(refusedBy(new VerifyError(code, name)), name).toHaveLength(1)
  }
})

test('what is only not there refuses nothing', () => {
  for (const code of ['TPM_ABSENT', 'SOURCE_DOWN', 'TPM_BUSY'] satisfies ErrorCode[]) {
    expect(refusedBy(new MetabindError(code))).toEqual([])
  }
})

test('a refusal says its sentence, and nothing else counts as proven', () => {
  const links = proofChain(OPENING, new VerifyError('VERIFY_NAME', 'certification of RK: name'))
  expect(links.find(({ name }) => name === 'RK')?.sentence).toContain('another key')
  expect(links.some(({ verdict }) => verdict === 'proven')).toBe(false)
})
