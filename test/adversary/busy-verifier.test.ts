/**
 * Somebody sends evidence with as many certificates as fit, all of one name, so that each may have issued each other, and
 * each naming its issuer in thousands of ways.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { decodeEvidence, encodeEvidence } from '../../src/format/evidence.ts'
import { keyObjectOf } from '../../src/format/tpm-key.ts'
import { parsePublic } from '../../src/format/tpm-public.ts'
import { CA_EXTENSIONS, ext, makeAuthority, makeEkCertificate } from '../harness/certificate.ts'
import { startVerifier } from '../harness/verifier.ts'

// Of the extension authorityKeyIdentifier: 4908 names, all of them empty.
const NAMES = ext.raw('2.5.29.35', `3082265c a1822658 ${'8100'.repeat(4908)}`)

test('a verifier is done with it in seconds', async () => {
  const { at, verify, asked } = await startVerifier()
  const genuine = decodeEvidence(await readFile(at('evidence')))
  const key = keyObjectOf(parsePublic(genuine.ek.public)).export({ type: 'spki', format: 'der' })
  const leaf = makeEkCertificate(makeAuthority('Root'), key)
  const extensions = [...CA_EXTENSIONS, NAMES]
  const namesakes = Array.from({ length: 7 }, () => makeAuthority('Root', { extensions }).der)
  const certificates = [leaf, ...namesakes]
  const evidence = encodeEvidence({ ...genuine, ek: { ...genuine.ek, certificates } })
  await writeFile(at('busy'), evidence)
  // It would be killed for taking ten seconds of processor time, and have no exit code.
  const { code, stderr } = await verify(at('busy'), ...asked)
  expect([code, stderr]).toEqual([1, expect.stringContaining('VERIFY_CERTIFICATE_')])
})
