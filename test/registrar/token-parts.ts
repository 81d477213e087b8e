import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { createLocalJWKSet, type JWK, SignJWT } from 'jose'
import { expect } from 'vitest'
import { type OpenCounts, openCounts } from '../../src/open-counts.ts'
import { publicDocuments } from '../../src/registrar/discovery.ts'
import { dpopNonces } from '../../src/registrar/dpop-nonce.ts'
import { parseRegistrarConfig } from '../../src/registrar/registrar-config.ts'
import { type StatusList, statusList } from '../../src/registrar/status-list.ts'
import { exchangeToken } from '../../src/registrar/token-exchange.ts'
import { type TokenOrder, tokenIssuer } from '../../src/registrar/token-issuer.ts'
import { type KeyRing, keyRing } from '../../src/registrar-keys/key-ring.ts'
import { masterKey } from '../../src/registrar-keys/master-key.ts'
import { sealedKeys } from '../../src/registrar-keys/sealed-keys.ts'
import {
  type EnrolledInstance,
  enrolledInstanceSchema,
} from '../../src/registrar-repository/enrolled-instance.ts'
import type { Repository } from '../../src/registrar-repository/repository.ts'
import { sqliteRepository } from '../../src/registrar-repository/sqlite-repository.ts'
import { Secret } from '../../src/secret.ts'
import { scratchDirectory } from '../harness/scratch.ts'
import { enrolledRow, NOW_MS } from './enrolled.ts'

/** A token endpoint with its real parts and a clock that tests set, and an instance with a key for SK. */

export const URL_OF_REGISTRAR = 'https://registrar.example'
export const TOKEN_URL = `${URL_OF_REGISTRAR}/token`
export const TRUST_DOMAIN = 'fleet.example'

const keyPair = () => generateKeyPairSync('ec', { namedCurve: 'P-256' })
export const SK = keyPair()
export const OTHER_KEY = keyPair()
export const skJwk = enrolledInstanceSchema.shape.sk.parse(SK.publicKey.export({ format: 'jwk' }))

export interface TokenParts extends AsyncDisposable {
  readonly directory: string
  readonly repository: Repository
  readonly keys: KeyRing
  readonly statuses: StatusList
  readonly signing: OpenCounts<string>
  nowMs: number
  /** From when on identity tokens must have been made. */
  usableFromMs: number
  /** What the key of a token waits for. */
  mayIssue: Promise<void>
  nonce(): string
  /** Writes the instance anew. */
  write(fields?: Partial<EnrolledInstance>): Promise<void>
  exchange(
    form: Readonly<Record<string, string>>,
    more?: { readonly text?: string; readonly proofs?: readonly string[] },
  ): ReturnType<typeof exchangeToken>
  exchangeForm(form: string, proofs?: readonly string[]): ReturnType<typeof exchangeToken>
  /** The keys of a document that verifiers read. @param use of a SPIFFE bundle, which jose does not know */
  keysAt(path: string, use?: string): ReturnType<typeof createLocalJWKSet>
  document(path: string): object | string
}

const FORM = {
  grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
  subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
  audience: 'sts.example',
}

/** @param audiences tables of the configuration, as TOML */
export async function tokenParts(audiences: string): Promise<TokenParts> {
  const stack = new AsyncDisposableStack()
  const directory = stack.use(await scratchDirectory()).path
  const repository = sqliteRepository(join(directory, 'registrar.db'))
  stack.defer(() => repository.close())
  const master = masterKey(new Secret(randomBytes(32)))
  const schedule = { rotateMs: 30 * 86_400_000, overlapMs: 43_200_000 }
  const nowMs = () => parts.nowMs
  const text = `url = "${URL_OF_REGISTRAR}"\n[spiffe]\ntrust_domain = "${TRUST_DOMAIN}"\n${audiences}`
  const config = parseRegistrarConfig([{ file: 'registrar.toml', text }])
  const store = sealedKeys(master)
  const keys = keyRing({ repository, store, schedule, kinds: ['RS256', 'ES256', 'wit'], nowMs })
  const statuses = statusList({ url: URL_OF_REGISTRAR, repository, keys, nowMs })
  const documents = publicDocuments(URL_OF_REGISTRAR, TRUST_DOMAIN, keys, statuses, {
    published: '',
  })
  const nonces = dpopNonces(master)
  const tokens = tokenIssuer({ url: URL_OF_REGISTRAR, trustDomain: TRUST_DOMAIN, keys, nowMs })
  const signing = openCounts<string>()
  const deps = {
    ...{ url: URL_OF_REGISTRAR, tokenUrl: TOKEN_URL, audiences: config.audience },
    ...{ repository, nonces, nowMs, signing },
    usableFromMs: () => parts.usableFromMs,
    tokens: { issue: (order: TokenOrder) => parts.mayIssue.then(() => tokens.issue(order)) },
  }
  let revision = 0
  const parts: TokenParts = {
    ...{ directory, repository, keys, statuses, signing, nowMs: NOW_MS, usableFromMs: 0 },
    mayIssue: Promise.resolve(),
    nonce: () => nonces.make(parts.nowMs),
    write: async (fields = {}) => {
      revision += 1
      const row = enrolledRow({ sk: skJwk, expiresAtMs: NOW_MS + 86_400_000, revision, ...fields })
      expect(await repository.commit({ instances: [row], events: [] }, parts.nowMs)).toBe(true)
    },
    exchange: (form, { text: more = '', proofs = [] } = {}) =>
      parts.exchangeForm(`${new URLSearchParams({ ...FORM, ...form })}${more}`, proofs),
    exchangeForm: (form, proofs = []) => exchangeToken(deps, { form, proofs }),
    document: (path) => {
      const found = documents.find((one) => one.path === path)
      if (found === undefined) throw new Error(`nothing at ${path}`)
      return found.content()
    },
    keysAt: (path, use) => {
      const { keys: all } = JSON.parse(JSON.stringify(parts.document(path)))
      const ofUse = all.filter(
        (key: JWK) => use === undefined || [use, 'sig'].includes(key.use ?? ''),
      )
      return createLocalJWKSet({ keys: ofUse.map((key: JWK) => ({ ...key, use: 'sig' })) })
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
  await keys.refresh()
  await statuses.refresh()
  await parts.write()
  return parts
}

/** What the agent's SK signs. */
export function identityToken(
  nowMs: number,
  claims: Readonly<Record<string, unknown>> = {},
  key = SK.privateKey,
): Promise<string> {
  const { iid, instanceId } = enrolledRow()
  const iat = Math.floor(nowMs / 1000)
  const jti = randomBytes(16).toString('hex')
  const whole = { iss: `metabind:${iid}`, sub: instanceId, aud: URL_OF_REGISTRAR, iid, jti }
  return new SignJWT({ ...whole, iat, exp: iat + 900, ...claims })
    .setProtectedHeader({ alg: 'ES256', typ: 'JWT' })
    .sign(key)
}
