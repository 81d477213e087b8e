import type { TpmCommands } from 'tpm2-js'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startProxy } from '../../native/tpm2-js/test/proxy.ts'
import { type Swtpm, startSwtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { MetabindError } from '../../src/errors.ts'
import { type InstanceTpm, instanceTpm } from '../../src/identity/tpm.ts'

/** The connection to a TPM that all callers share, when it breaks and when it does not. */

// A TPM that answers may take as long as a busy machine lets it.
const PATIENT_MS = 60_000
/** Of those who wait for a TPM that was stopped. */
const IMPATIENT_MS = 2000

let swtpm: Swtpm
let tpm: InstanceTpm
let stuck: MetabindError[]

beforeEach(async () => {
  swtpm = await startSwtpm()
  stuck = []
  tpm = ofSwtpm(PATIENT_MS)
})

afterEach(async () => {
  swtpm.resume()
  await tpm.close()
  await swtpm.stop()
})

function ofSwtpm(timeoutMs: number): InstanceTpm {
  return instanceTpm(swtpm.tcti, timeoutMs, undefined, (why) => stuck.push(why))
}
const random = () => tpm.run((commands) => commands.getRandom(8))
const codeOf = (asked: Promise<unknown>): Promise<string> =>
  asked.then(
    () => 'done',
    (error: unknown) => (error instanceof MetabindError ? error.code : String(error)),
  )

test('a TPM that is late once, with many waiting, is asked again when it answers', async () => {
  tpm = ofSwtpm(IMPATIENT_MS)
  await expect.poll(() => codeOf(random())).toBe('done')
  swtpm.pause()
  const waiting = Array.from({ length: 10 }, () => codeOf(random()))
  expect(new Set(await Promise.all(waiting))).toEqual(new Set(['TPM_FAULT']))
  swtpm.resume()
  await expect.poll(() => codeOf(random())).toBe('done')
  expect(stuck).toEqual([])
})

test('two connections that wait are as many as there may be, until the TPM answers', async () => {
  tpm = ofSwtpm(IMPATIENT_MS)
  await expect.poll(() => codeOf(random())).toBe('done')
  swtpm.pause()
  const codes = [await codeOf(random()), await codeOf(random()), await codeOf(random())]
  expect(codes).toEqual(['TPM_FAULT', 'TPM_FAULT', 'TPM_STUCK'])
  expect(stuck.map(({ code }) => code)).toEqual(['TPM_STUCK'])
  swtpm.resume()
  await expect.poll(() => codeOf(random())).toBe('done')
})

const MISTAKES: readonly [string, (commands: TpmCommands) => Promise<unknown>][] = [
  ['a wrong argument', (commands) => commands.getRandom(0)],
  ['a refusal of the TPM', (commands) => commands.nvRead(0x01ff_0000)],
  [
    'an object that is gone',
    async (commands) => {
      const session = await commands.startAuthSession({ type: 'hmac' })
      await commands.flushContext(session)
      await commands.policyGetDigest(session)
    },
  ],
  ['an error of its own', () => Promise.reject(new MetabindError('TPM_OTHER'))],
]

test.each(MISTAKES)('%s of one caller fails no other', async (_what, mistake) => {
  const asked = [random(), tpm.run(mistake), random(), random()]
  const settled = await Promise.allSettled(asked)
  expect(settled.map(({ status }) => status)).toEqual([
    'fulfilled',
    'rejected',
    'fulfilled',
    'fulfilled',
  ])
})

/** A response with a tag that there is not. */
const MALFORMED = Buffer.from('ffff0000000a00000000', 'hex')

test('who fails on a broken connection does not close the one that another opened since', async () => {
  const proxy = await startProxy(swtpm)
  const shared = instanceTpm(proxy.tcti, PATIENT_MS)
  const ask = () => shared.run((commands) => commands.getRandom(8))
  await ask()
  let broken = 0
  proxy.tamper((response) => (broken++ === 0 ? MALFORMED : response))
  // Each that failed with the connection asks once more, while others are still to fail.
  const asked = Array.from({ length: 50 }, async () => {
    const first = await codeOf(ask())
    return [first, await codeOf(ask())]
  })
  const codes = await Promise.all(asked)
  expect(new Set(codes.map(([first]) => first))).toEqual(new Set(['TPM_FAULT']))
  expect(codes.map(([, second]) => second).filter((code) => code !== 'done')).toEqual([])
  await shared.close()
  await proxy.close()
})

test('nothing is opened after the end', async () => {
  await random()
  await tpm.close()
  expect(await codeOf(random())).toBe('TPM_FAULT')
})
