import type { MasterKey } from './master-key.ts'
import { pkcs11Keys, type TokenOfKeys } from './pkcs11-keys.ts'
import type { KeyStore } from './private-key.ts'
import { sealedKeys } from './sealed-keys.ts'

interface KeyStoreDeps {
  readonly master: MasterKey
  /** Undefined: keys that are in one are published until they are over, and do not sign. */
  readonly token: TokenOfKeys | undefined
  /** Where new keys are made. */
  readonly newKeys: 'token' | 'database'
}

/** Before what is sealed of a key in a token; what is sealed of a private key begins with random bytes. */
const IN_TOKEN = Buffer.from('pkcs11\0')

/** Keys of both places: those that were made in one before go on there while new ones are made in the other. */
export function keyStore({ master, token, newKeys }: KeyStoreDeps): KeyStore {
  const inDatabase = sealedKeys(master)
  const inToken = pkcs11Keys(master, token)
  const isInToken = (sealed: Buffer) => sealed.subarray(0, IN_TOKEN.length).equals(IN_TOKEN)
  const placeOf = (sealed: Buffer): readonly [KeyStore, Buffer] =>
    isInToken(sealed) ? [inToken, sealed.subarray(IN_TOKEN.length)] : [inDatabase, sealed]
  return {
    make: async (algorithm, kind) => {
      if (newKeys === 'database') return inDatabase.make(algorithm, kind)
      const { key, sealed } = await inToken.make(algorithm, kind)
      return { key, sealed: Buffer.concat([IN_TOKEN, sealed]) }
    },
    open: (sealed, publicJwk) => {
      const [place, own] = placeOf(sealed)
      return place.open(own, publicJwk)
    },
    destroy: (sealed) => {
      const [place, own] = placeOf(sealed)
      return place.destroy(own)
    },
  }
}
