import crypto, { type KeyObject, type RSAKeyPairOptions } from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
import { promisify } from 'node:util'

/** As many of a size that no test is given one twice. */
const KEPT = 8

interface KeyPair {
  readonly publicKey: KeyObject
  readonly privateKey: KeyObject
}

interface Pool {
  readonly pairs: KeyPair[]
  given: number
}

const pools = new Map<string, Pool>()

/**
 * RSA keys are made once in a worker, and given in turn: to find primes takes longer than most tests, and nearly each
 * file of the verifier's makes a key for itself, for each mutant anew. Nothing can be changed in a key, so that no mutant
 * leaves anything there.
 */
export function keepRsaKeys(): void {
  const make = crypto.generateKeyPairSync
  crypto.generateKeyPairSync = new Proxy(make, {
    apply: (target, self, args: Parameters<typeof make>) => {
      const [type, options] = args
      const isKept = String(type) === 'rsa' && options?.publicKeyEncoding === undefined
      const pair = () => Reflect.apply(target, self, args) as unknown as KeyPair
      return isKept ? keptOf(JSON.stringify(options), pair) : pair()
    },
  })
  crypto.generateKeyPair = new Proxy(crypto.generateKeyPair, {
    get: (target, name) =>
      name === promisify.custom
        ? async (type: 'rsa', options: RSAKeyPairOptions) =>
            crypto.generateKeyPairSync(type, options)
        : Reflect.get(target, name),
  })
  syncBuiltinESMExports()
}

function keptOf(name: string, make: () => KeyPair): KeyPair {
  const pool = pools.get(name) ?? { pairs: [], given: 0 }
  pools.set(name, pool)
  const at = pool.given % KEPT
  pool.given += 1
  pool.pairs[at] ??= make()
  return pool.pairs[at]
}
