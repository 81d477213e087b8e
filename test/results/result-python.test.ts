import { describe, expect, test } from 'vitest'
import { verifyResult } from '../../src/verify/index.ts'
import { inPython } from '../harness/python-result.ts'
import {
  demandsOf,
  KEY_PAIRS,
  privatePem,
  publicPem,
  resultCase,
  resultOf,
} from '../harness/result-case.ts'
import { genuineCaseOfFile } from '../harness/verify-case.ts'

/** Attestation results between this project and Debian's Python libraries, both ways. */

const { verified, nonce } = resultCase(await genuineCaseOfFile())

// python3-jwt has no ML-DSA; jose is the other party of that.
describe.each(['ES256', 'ES384', 'ES512', 'PS256', 'EdDSA'])('%s', (algorithm) => {
  const pair = KEY_PAIRS[algorithm]?.()
  if (pair === undefined) throw new Error(algorithm)
  const [key, signing] = [publicPem(pair.publicKey), privatePem(pair.privateKey)]

  test('a JSON Web Token is read by python3-jwt, and one of its making here', () => {
    const token = resultOf(verified, nonce, signing).toString()
    const claims = inPython({ do: 'read-jwt', token, key, algorithm })
    expect(claims).toMatchObject({ ear_status: 'affirming' })
    const made = inPython({ do: 'make-jwt', claims, key: signing, algorithm })
    expect(verifyResult(String(made), demandsOf(nonce, key))).toEqual(
      verifyResult(token, demandsOf(nonce, key)),
    )
  })

  test('a CBOR Web Token is read by python3-cbor2 and -cryptography, and one of their making here', () => {
    const token = resultOf(verified, nonce, signing, { format: 'cwt' })
    const read = inPython({ do: 'read-cwt', token: token.toString('hex'), key, algorithm })
    expect(read).toMatchObject({
      profile: 'tag:ietf.org,2026:rats/ear#04',
      status: 2,
      nonce: nonce.toString('hex'),
      ueid: `01${verified.ek.spkiSha256}`,
      instance: verified.instanceId,
    })
    const made = inPython({ ...Object(read), do: 'make-cwt', key: signing, algorithm })
    expect(verifyResult(Buffer.from(String(made), 'hex'), demandsOf(nonce, key))).toEqual(
      verifyResult(token, demandsOf(nonce, key)),
    )
  })
})
