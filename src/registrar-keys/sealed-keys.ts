import {
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
  sign,
} from 'node:crypto'
import { promisify } from 'node:util'
import { MetabindError } from '../errors.ts'
import { jwkThumbprint, type PublicJwk } from '../format/public-jwk.ts'
import type { SigningAlgorithm } from './key-schedule.ts'
import type { MasterKey } from './master-key.ts'
import type { KeyStore, PrivateKey } from './private-key.ts'

const SEALED_FOR = 'signing key'
const RSA_BITS = 2048

/** Keys that sign in this process, and are in the database as PKCS #8, sealed under the master key. */
export function sealedKeys(master: MasterKey): KeyStore {
  return {
    make: async (algorithm) => {
      const privateKey = await newPrivateKey(algorithm)
      const der = privateKey.export({ type: 'pkcs8', format: 'der' })
      const sealed = master.seal(SEALED_FOR, der)
      der.fill(0)
      return { key: signingBy(privateKey), sealed }
    },
    open: (sealed, publicJwk) => {
      const der = master.open(SEALED_FOR, sealed)
      const key = signingBy(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }))
      der.fill(0)
      requireSameKey(key.publicJwk, publicJwk)
      return key
    },
    destroy: async () => undefined,
  }
}

/** Whoever can write to the database alone must not have a key of its own published in the place of one of ours. */
function requireSameKey(own: PublicJwk, said: PublicJwk): void {
  if (jwkThumbprint(own) === jwkThumbprint(said)) return
  throw new MetabindError('REGISTRAR_DATABASE', 'A signing key has another public key.')
}

function signingBy(key: KeyObject): PrivateKey {
  return {
    publicJwk: publicJwkOf(createPublicKey(key)),
    sign: async (bytes) => sign('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' }),
  }
}

async function newPrivateKey(algorithm: SigningAlgorithm): Promise<KeyObject> {
  const generate = promisify(generateKeyPair)
  const { privateKey } =
    algorithm === 'RS256'
      ? await generate('rsa', { modulusLength: RSA_BITS })
      : await generate('ec', { namedCurve: 'P-256' })
  return privateKey
}

export function publicJwkOf(key: KeyObject): PublicJwk {
  const { crv, x, y, n, e } = key.export({ format: 'jwk' })
  if (n !== undefined && e !== undefined) return { kty: 'RSA', n, e }
  if (crv === undefined || x === undefined || y === undefined) throw new RangeError('another key')
  return { kty: 'EC', crv, x, y }
}
