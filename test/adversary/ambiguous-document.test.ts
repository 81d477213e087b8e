/**
 * Somebody sends evidence, and an answer, that another reader would read differently: a member twice, the true one first or
 * last; a byte order mark; another coding; a comment; more behind the end.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { expect, inject, test } from 'vitest'
import { metabindAs } from '../harness/attack.ts'
import { startVerifier } from '../harness/verifier.ts'

const AMBIGUOUS: Readonly<Record<string, (text: string) => string | Buffer>> = {
  'a false member first': (text) => text.replace('{', '{"version":2,"nonce":"00",'),
  'a false member last': (text) => text.replace(/\}\s*$/, ',"nonce":"00"}'),
  'the same member twice': (text) => text.replace('{', '{"version":1,'),
  'twice inside': (text) => text.replace(/:\s*\{/, ':{"public":"AAAA",'),
  'a name in two spellings': (text) => text.replace('{', '{"\\u0076ersion":1,'),
  'a prototype': (text) => text.replace('{', '{"__proto__":{"version":1},'),
  'a byte order mark': (text) => `\ufeff${text}`,
  'another coding': (text) => Buffer.from(`\ufeff${text}`, 'utf16le'),
  'a comment': (text) => text.replace('{', '{/* */'),
  'more behind the end': (text) => `${text}{}`,
  'a zero behind the end': (text) => `${text}\0`,
}

test('what can be read in two ways is not read', async () => {
  const { at, verify, asked } = await startVerifier()
  const files = ['--out', at('challenge'), '--secret-out', at('secret')]
  expect(await verify('challenge', at('evidence'), ...asked, ...files)).toMatchObject({ code: 0 })
  const evidence = await readFile(at('evidence'), 'utf8')
  const challenge = await readFile(at('challenge'), 'utf8')
  for (const [what, alter] of Object.entries(AMBIGUOUS)) {
    await writeFile(at('altered'), alter(evidence))
    const { code, stdout, stderr } = await verify(at('altered'), ...asked)
    expect([code, stdout], what).toEqual([1, ''])
    expect(stderr, what).toContain('VERIFY_FORMAT')
    // One reader reads both: a few show it.
    if (!/first|mark/.test(what)) continue
    await writeFile(at('altered'), alter(challenge))
    const activated = await metabindAs(0, ['activate', at('altered')], inject('target'))
    expect([activated.code, activated.stdout], what).toEqual([1, ''])
  }
})
