/**
 * Somebody shows a verifier evidence that was made for another one's nonce, evidence of which a bit is other in each part,
 * and the answer to one challenge as that to another.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { expect, inject, test } from 'vitest'
import { metabindAs, whileServed } from '../harness/attack.ts'
import { startVerifier } from '../harness/verifier.ts'

const PARTS = [
  ['quote', 'attest'],
  ['quote', 'signature'],
  ['ak', 'public'],
  ['ek', 'public'],
  ['certifications', 'SK', 'attest'],
  ['identityDocument', 'pkcs7'],
] as const

test('evidence is good for its nonce, as it is, and an answer for its challenge', async () => {
  const target = inject('target')
  const { at, verify, asked } = await startVerifier()
  const refused = async (...args: readonly string[]) => {
    const { code, stdout, stderr } = await verify(...args)
    expect([code, stdout], args.join(' ')).toEqual([1, ''])
    return stderr.split(':')[1]?.trim()
  }
  const others = ['--nonce', 'cd'.repeat(32), ...asked.slice(2)]
  expect(await refused(at('evidence'), ...others)).toBe('VERIFY_NONCE')
  const text = await readFile(at('evidence'), 'utf8')
  for (const part of PARTS) {
    await writeFile(at('altered'), JSON.stringify(altered(JSON.parse(text), part)))
    expect(await refused(at('altered'), ...asked), part.join('.')).toMatch(/^VERIFY_/)
  }
  const challenge = (name: string) =>
    verify(
      ...['challenge', at('evidence'), ...asked],
      ...['--out', at(`${name}-challenge`), '--secret-out', at(`${name}-secret`)],
    )
  expect([(await challenge('one')).code, (await challenge('other')).code]).toEqual([0, 0])
  const args = ['activate', at('one-challenge'), '--out', at('answer')]
  const answered = await whileServed(target.metadataSocket, () => metabindAs(0, args, target))
  expect(answered.code).toBe(0)
  const finish = (secret: string) => ['finish', at('answer'), '--secret', at(secret)]
  expect(await refused(...finish('other-secret'))).toMatch(/^VERIFY_/)
  expect((await verify(...finish('one-secret'))).code).toBe(0)
})

/** A bit in the middle of a part is turned. */
function altered(evidence: Record<string, unknown>, part: readonly string[]): unknown {
  const [name = '', ...rest] = part
  const value = evidence[name]
  if (typeof value === 'string') {
    const bytes = Buffer.from(value, 'base64')
    const middle = bytes.length >> 1
    bytes[middle] = (bytes[middle] ?? 0) ^ 1
    return { ...evidence, [name]: bytes.toString('base64') }
  }
  return { ...evidence, [name]: altered(value as Record<string, unknown>, rest) }
}
