/**
 * Somebody adds to genuine evidence a log of things that were never measured, so that a reader takes the machine for one
 * that booted what the log says.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { decodeEvidence, encodeEvidence } from '../../src/format/evidence.ts'
import { makeImaLog, makeSystemdLog } from '../harness/logs.ts'
import { startVerifier } from '../harness/verifier.ts'

const logs = {
  systemd: makeSystemdLog([{ pcr: 11, text: 'enter-initrd' }]),
  ima: makeImaLog([{ path: '/bin/good', content: 'good' }]),
}

test('a verifier shows nothing of it as measured, and says that it is not in the quote', async () => {
  const { at, verify, asked } = await startVerifier()
  const genuine = decodeEvidence(await readFile(at('evidence')))
  await writeFile(at('embellished'), encodeEvidence({ ...genuine, logs }))
  const { stdout } = await verify(at('embellished'), ...asked, '--json')
  const { sha256 } = JSON.parse(stdout).replayed
  expect(sha256['11']).toEqual({ logs: [], events: 0, laterEvents: 1, systemd: [] })
  expect(sha256['10']).toEqual({ logs: [], events: 0, laterEvents: 1, systemd: [] })
  expect(stdout).not.toContain('enter-initrd')
})
