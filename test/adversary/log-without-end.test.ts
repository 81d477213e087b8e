/**
 * Somebody sends evidence with the longest log that it may have, of the shortest records, and none of its prefixes leads
 * to what was quoted; and another whose values are within one another without end.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import {
  CEL_BYTES_MAX,
  decodeEvidence,
  encodeEvidence,
  IMA_LOG_BYTES_MAX,
} from '../../src/format/evidence.ts'
import { makeImaLog } from '../harness/logs.ts'
import { startVerifier } from '../harness/verifier.ts'

const RECORD = makeImaLog([{ path: '', content: '', template: 'ima' }])
const ima = Buffer.concat(
  Array.from({ length: Math.floor(IMA_LOG_BYTES_MAX / RECORD.length) }, () => RECORD),
)

test('a verifier is done with the one in seconds, and refuses the other', async () => {
  const { at, verify, asked } = await startVerifier()
  const genuine = decodeEvidence(await readFile(at('evidence')))
  await writeFile(at('long'), encodeEvidence({ ...genuine, logs: { ima } }))
  // It would be killed for taking ten seconds of processor time, and have no exit code.
  const long = await verify(at('long'), ...asked, '--json')
  expect(JSON.parse(long.stdout).replayed.sha256['10']).toMatchObject({ events: 0 })

  const cel = Buffer.alloc(CEL_BYTES_MAX, 0x81)
  await writeFile(at('nested'), encodeEvidence({ ...genuine, logs: { cel } }))
  const nested = await verify(at('nested'), ...asked)
  expect([nested.code, nested.stderr]).toEqual([1, expect.stringContaining('VERIFY_EVENT_LOG')])
})
