/**
 * The metadata source, or who sits between, codes its answers: gzip, deflate, a coding of its own, twice over; so that
 * the coded bytes are handed to applications as the value, or are unpacked without an end.
 */
import { expect, test } from 'vitest'
import { APP, ATTACKER, ownAgent, whileServed } from '../harness/attack.ts'
import { readAs } from '../harness/unix-http.ts'

const CODINGS = ['gzip', 'deflate', 'br', 'zstd', 'x', 'identity, gzip', 'GZIP', 'aes128gcm']
const PATHS = ['/latest/meta-data/mac', '/latest/meta-data/ram/security-credentials/other-role']

test('nobody gets a byte of them, and what was there is served', async (context) => {
  const { instance } = await ownAgent(context)
  const { metadataSocket, cloud } = instance
  await whileServed(metadataSocket, async () => {
    for (const [at, coding] of CODINGS.entries()) {
      for (const path of PATHS) {
        const headers = { 'Content-Encoding': coding }
        cloud?.faults.set({ kind: 'status', code: 200, body: 'coded', headers, path, times: 1 })
        const asked = `${path}${at}`
        const { status, body } = await readAs({ uid: APP }, metadataSocket, asked)
        expect([asked, coding, status]).toEqual([asked, coding, 502])
        expect(body).toMatch(/^SOURCE_NONSENSE: /)
      }
    }
    cloud?.faults.clear()
  })
  const asked = (cloud?.requests ?? []).map(({ rawHeaders }) => rawHeaders.join(' ').toLowerCase())
  expect(asked.filter((headers) => /accept-encoding (?!identity)/.test(headers))).toEqual([])
  const read = await readAs({ uid: ATTACKER }, metadataSocket, '/latest/meta-data/mac')
  expect(read).toMatchObject({ status: 200, body: expect.stringMatching(/^[0-9a-f:]{17}$/) })
})
