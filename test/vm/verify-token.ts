import { createPublicKey, verify, type webcrypto } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** In a guest: prints whether the RS256 of a token is by one of the keys of a JWK Set, and whose it is and for whom. */

const [tokenFile = '', keysFile = ''] = process.argv.slice(2)
const [head = '', claims = '', signature = ''] = readFileSync(tokenFile, 'utf8').trim().split('.')
const { kid, alg } = read(head)
const { keys }: { keys: (webcrypto.JsonWebKey & { kid: string; alg: string })[] } = JSON.parse(
  readFileSync(keysFile, 'utf8'),
)
const jwk = keys.find((key) => key.kid === kid && key.alg === alg)
if (jwk === undefined) throw new Error(`no key ${kid} for ${alg}`)
const signed = Buffer.from(`${head}.${claims}`)
const key = createPublicKey({ key: jwk, format: 'jwk' })
const isGood = alg === 'RS256' && verify('sha256', signed, key, Buffer.from(signature, 'base64url'))
const { iss, sub, aud } = read(claims)
process.stdout.write(`${isGood} ${iss} ${sub} ${aud}\n`)

function read(part: string): Record<string, unknown> {
  return JSON.parse(Buffer.from(part, 'base64url').toString())
}
