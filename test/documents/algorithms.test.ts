import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

/**
 * src/format/algorithms.ts is the one table: elsewhere in what reads evidence, policies and results no algorithm stands by
 * one of its names, so that none is accepted that is not in it.
 */

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const TABLE = 'src/format/algorithms.ts'
/** What is hashed for a purpose of our own, or of a standard that says so, negotiates nothing. */
const FIXED = /\b(?:createHash|createHmac)\('sha256'\)/g
const NAMES: readonly RegExp[] = [
  /'(?:RSA-)?sha-?(?:1|224|256|384|512)'/i,
  /'(?:[EPR]S(?:256|384|512)|HS\d+|EdDSA|Ed25519|Ed448|ML-DSA-\d+|SLH-DSA\S*)'/i,
  /'(?:prime256v1|secp\d+[rk]1|P-(?:224|256|384|521))'/,
  // Arcs of RSA, ECDSA, curves, and NIST's hashes and signatures.
  /\b(?:1\.2\.840\.113549\.1\.1\.|1\.2\.840\.10045\.|1\.3\.132\.0\.|1\.3\.14\.3\.2\.|2\.16\.840\.1\.101\.3\.4\.)\d/,
  // TPM_ALG_ID.
  /\b0x00[0-4][0-9a-f]\b/,
]
/** What may, and why. */
const EXCEPTED: Readonly<Record<string, string>> = {
  'src/format/tpm-templates.ts': 'templates are bytes of the wire, by the kind of the key',
}

const ROOMS = ['format', 'certificates', 'measurements', 'verify', 'results']
const FILES = ROOMS.map((room) => `src/${room}`).flatMap((folder) =>
  readdirSync(join(ROOT, folder)).map((name) => `${folder}/${name}`),
)

/** The source without its comments, which may speak of algorithms, and without what is fixed. */
function codeOf(file: string): string {
  const text = readFileSync(join(ROOT, file), 'utf8')
  return text
    .replace(/\/\*.*?\*\//gs, '')
    .replace(/(?<![:'])\/\/.*$/gm, '')
    .replace(FIXED, '')
}

test.each(FILES.filter((file) => file !== TABLE && !(file in EXCEPTED)))(
  '%s names no algorithm',
  (file) => {
    const code = codeOf(file)
    expect(NAMES.flatMap((name) => name.exec(code)?.[0] ?? [])).toEqual([])
  },
)

test('each kind of name stands in the table, and exceptions are needed', () => {
  const code = codeOf(TABLE)
  expect(NAMES.filter((name) => !name.test(code))).toEqual([])
  const idle = Object.keys(EXCEPTED).filter(
    (file) => !NAMES.some((name) => name.test(codeOf(file))),
  )
  expect(idle).toEqual([])
})
