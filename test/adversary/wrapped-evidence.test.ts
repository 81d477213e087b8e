/**
 * Somebody sends evidence in a wrapper that another reader would open differently, of another type, with more in it than
 * one document, nested tens of thousands deep, or of more bytes than it says.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { EVIDENCE_MEDIA_TYPE, wrapDocument } from '../../src/format/cmw.ts'
import { encodeCbor } from '../../src/format/strict-cbor.ts'
import { startVerifier } from '../harness/verifier.ts'

const WRAPPED: Readonly<Record<string, (document: Buffer) => Buffer>> = {
  'another type': (document) => encodeCbor(['application/eat+cwt', document]),
  'said to be a result': (document) => encodeCbor([EVIDENCE_MEDIA_TYPE, document, 8]),
  'two documents': (document) => encodeCbor([EVIDENCE_MEDIA_TYPE, [document, document]]),
  'a collection': (document) => encodeCbor(new Map([['a', [EVIDENCE_MEDIA_TYPE, document]]])),
  'a wrapper in a wrapper': (document) => {
    const inner = wrapDocument(document, 'cmw-cbor')
    return encodeCbor([[EVIDENCE_MEDIA_TYPE, inner]])
  },
  'more behind the end': (document) =>
    Buffer.concat([wrapDocument(document, 'cmw-cbor'), wrapDocument(document, 'cmw-cbor')]),
  'less than it says': (document) => wrapDocument(document, 'cmw-cbor').subarray(0, -1),
  'nested deep': () => Buffer.alloc(1024 * 1024, 0x82),
  'nested deep in JSON': () => Buffer.alloc(1024 * 1024, '['),
}

test('only one document in one wrapper is read', async () => {
  const { at, verify, asked } = await startVerifier()
  const document = await readFile(at('evidence'))
  for (const wrapper of ['cmw-json', 'cmw-cbor'] as const) {
    await writeFile(at('wrapped'), wrapDocument(document, wrapper))
    const { stdout } = await verify(at('wrapped'), ...asked, '--allow-provisional')
    expect(stdout, wrapper).toContain('instance ')
  }
  for (const [what, wrap] of Object.entries(WRAPPED)) {
    await writeFile(at('wrapped'), wrap(document))
    const { code, stdout, stderr } = await verify(at('wrapped'), ...asked)
    expect([code, stdout], what).toEqual([1, ''])
    expect(stderr, what).toContain('VERIFY_WRAPPER')
  }
})
