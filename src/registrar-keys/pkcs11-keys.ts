import { createPublicKey, verify } from 'node:crypto'
import type { KeyType, Pkcs11Token, PublicPart } from 'metabind-pkcs11'
import { z } from 'zod'
import { MetabindError } from '../errors.ts'
import { jwkThumbprint, type PublicJwk } from '../format/public-jwk.ts'
import { parseJson } from '../json.ts'
import type { SigningAlgorithm } from './key-schedule.ts'
import type { MasterKey } from './master-key.ts'
import type { KeyStore, PrivateKey } from './private-key.ts'

/** The functions of a token that keys need. Undefined: none is configured. */
export type TokenOfKeys = Pick<Pkcs11Token, 'generate' | 'sign' | 'destroy'>

const SEALED_FOR = 'signing key in a token'
const TYPES: Readonly<Record<SigningAlgorithm, KeyType>> = { RS256: 'RSA-2048', ES256: 'P-256' }

/**
 * What the database has of a key in the token: by which id it is found there, and what public key it has. Sealed, so that
 * who can write to the database alone can have no other key published as one of the token's.
 */
const referenceSchema = z.strictObject({
  id: z.string().regex(/^(?:[0-9a-f]{2}){1,64}$/),
  kid: z.string(),
})

/** Keys that are in a PKCS #11 token, and sign there. */
export function pkcs11Keys(master: MasterKey, token: TokenOfKeys | undefined): KeyStore {
  const configured = (): TokenOfKeys => {
    if (token !== undefined) return token
    throw new MetabindError('REGISTRAR_HSM', 'The key is in a token, and none is configured.')
  }
  const idOf = (sealed: Buffer) => {
    const opened = master.open(SEALED_FOR, sealed).toString()
    const { id, kid } = referenceSchema.parse(parseJson(opened))
    return { id: Buffer.from(id, 'hex'), kid }
  }
  const signing = (id: Buffer, publicJwk: PublicJwk): PrivateKey => {
    const type = publicJwk.kty === 'RSA' ? TYPES.RS256 : TYPES.ES256
    const publicKey = createPublicKey({ key: { ...publicJwk }, format: 'jwk' })
    return {
      publicJwk,
      sign: async (bytes) => {
        const signature = await configured().sign({ id, type }, bytes)
        // Of a fault in the token, or of another key under the id, nothing gets out: it could tell what the key is.
        const by = { key: publicKey, dsaEncoding: 'ieee-p1363' } as const
        if (verify('sha256', bytes, by, signature)) return signature
        throw new MetabindError('REGISTRAR_HSM', 'It made a signature that does not hold.')
      },
    }
  }
  return {
    make: async (algorithm, kind) => {
      const label = `metabind-registrar ${kind}`
      const { id, publicPart } = await configured().generate(TYPES[algorithm], label)
      const publicJwk = jwkOf(publicPart)
      const reference = { id: id.toString('hex'), kid: jwkThumbprint(publicJwk) }
      const sealed = master.seal(SEALED_FOR, Buffer.from(JSON.stringify(reference)))
      return { key: signing(id, publicJwk), sealed }
    },
    open: (sealed, publicJwk) => {
      const { id, kid } = idOf(sealed)
      if (kid === jwkThumbprint(publicJwk)) return signing(id, publicJwk)
      throw new MetabindError('REGISTRAR_DATABASE', 'A key of the token has another public key.')
    },
    // Where none is configured, it stays in a token that this registrar does not know.
    destroy: async (sealed) => void (await token?.destroy(idOf(sealed).id)),
  }
}

function jwkOf(part: PublicPart): PublicJwk {
  const text = (bytes: Buffer) => bytes.toString('base64url')
  if ('modulus' in part) return { kty: 'RSA', n: text(part.modulus), e: text(part.exponent) }
  return { kty: 'EC', crv: 'P-256', x: text(part.x), y: text(part.y) }
}
