import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { z } from 'zod'
import { type RegistrarProcess, startRegistrarProcess } from '../fleet/registrar-process.ts'
import { ADMITS_SOFTWARE, enrolledSoftware } from '../fleet/software-enrolled.ts'
import { identityTokenOfSoftware } from '../fleet/software-instance.ts'
import { type TlsFront, tlsFront } from '../fleet/tls-front.ts'
import { removeEndedClocks } from '../harness/false-clock.ts'
import { scratch } from '../harness/metabind.ts'
import { OpensslPki } from '../harness/openssl-pki.ts'
import { newSoftwareSeeds } from '../harness/software-tpm.ts'
import { type LineProcess, startLineProcess } from './line-process.ts'

/** A registrar behind TLS with an instance of software, for verifiers and clients that are not ours. */

/** What `./dev test-clients` installs. */
export const VERIFIER_MODULES = fileURLToPath(new URL('verifiers/node_modules', import.meta.url))
export const MISSING = './dev test-clients installs it'
export const TOKEN_FORMATS = ['id_token', 'access_token', 'jwt_svid'] as const
export const TOKEN_ALGORITHMS = ['RS256', 'ES256'] as const

export type TokenFormat = (typeof TOKEN_FORMATS)[number]
export type TokenAlgorithm = (typeof TOKEN_ALGORITHMS)[number]

/** The program of npm's packages. */
export const NODE_VERIFIERS = fileURLToPath(new URL('use-verifiers.cjs', import.meta.url))

export const audienceOf = (algorithm: TokenAlgorithm) => `api-${algorithm}.example`
export const otherAudienceOf = (algorithm: TokenAlgorithm) => `other-${algorithm}.example`

const AUDIENCES = TOKEN_ALGORITHMS.flatMap((algorithm) =>
  [audienceOf(algorithm), otherAudienceOf(algorithm)].map(
    (name) => `[[audience]]
name = "${name}"
algorithm = "${algorithm}"
formats = ["id_token", "access_token", "jwt_svid"]
dpop = "optional"
`,
  ),
).join('')

/** What the programs of verifiers answer. */
export interface VerifierAnswer {
  /** Of a token that was taken. */
  readonly claims?: Readonly<Record<string, unknown>>
  /** Why a token was not. */
  readonly refused?: string
  /** A DPoP proof that was made, and the thumbprint of its key. */
  readonly proof?: string
  readonly thumbprint?: string
  /** A registrar's answer that a client took. */
  readonly given?: Readonly<Record<string, unknown>>
}

export interface VerifiableTokens extends AsyncDisposable {
  readonly directory: string
  readonly front: TlsFront
  readonly registrar: RegistrarProcess
  /** The private JWK of the instance's SK: of one of software it is known. */
  readonly sk: object
  /** An identity token of the instance for the registrar. */
  subjectToken(): string
  /** Asks for a token. @param dpop a proof */
  exchange(audience: string, format: TokenFormat, dpop?: string): Promise<Exchanged>
  /** Starts a program of verifiers, which trusts the registrar's authority. */
  start(command: readonly string[], env?: Record<string, string>): LineProcess<VerifierAnswer>
  /** Starts the one of npm's packages. */
  startNode(env?: Record<string, string>): LineProcess<VerifierAnswer>
}

interface Exchanged {
  readonly token: string
  readonly type: string
  readonly error: string | undefined
  readonly nonce: string
}

const answerSchema = z.looseObject({
  access_token: z.string().default(''),
  token_type: z.string().default(''),
  error: z.string().optional(),
})

export async function startVerifiableTokens(): Promise<VerifiableTokens> {
  const stack = new AsyncDisposableStack()
  stack.defer(removeEndedClocks)
  const { path: directory } = stack.use(await scratch())
  const pki = new OpensslPki()
  stack.defer(() => pki.remove())
  const front = await tlsFront(pki)
  const more = `${ADMITS_SOFTWARE}[spiffe]\ntrust_domain = "fleet.example"\n${AUDIENCES}`
  const registrar = await startRegistrarProcess(join(directory, 'registrar'), more, {
    url: front.url,
  })
  stack.defer(() => registrar.end())
  front.leadTo(registrar.origin)
  await front.open()
  stack.defer(() => front.close())
  const seeds = newSoftwareSeeds()
  const instance = await enrolledSoftware(registrar, 'i-one', seeds)
  const subjectToken = () => identityTokenOfSoftware(instance, registrar.url)
  const start: VerifiableTokens['start'] = (command, env = {}) => {
    const file = front.authority.file
    const pairs = Object.entries({ NODE_EXTRA_CA_CERTS: file, SSL_CERT_FILE: file, ...env })
    const prefix = ['env', ...pairs.map((pair) => pair.join('='))]
    const started = startLineProcess<VerifierAnswer>([...prefix, ...command])
    stack.defer(() => started.end())
    return started
  }
  return {
    ...{ directory, front, registrar, start, subjectToken },
    sk: { kty: 'EC', crv: 'P-256', ...seeds.sk },
    exchange: (audience, format, dpop) =>
      exchanged(registrar, { subject_token: subjectToken(), audience, format }, dpop),
    startNode: (env) => start([process.execPath, NODE_VERIFIERS, VERIFIER_MODULES], env),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

async function exchanged(
  { origin }: RegistrarProcess,
  asked: Readonly<Record<string, string>>,
  dpop: string | undefined,
): Promise<Exchanged> {
  const body = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    ...asked,
  })
  const headers: Record<string, string> = dpop === undefined ? {} : { dpop }
  const response = await fetch(`${origin}/token`, { method: 'POST', body, headers })
  const said = answerSchema.parse(await response.json())
  const nonce = response.headers.get('dpop-nonce') ?? ''
  return { token: said.access_token, type: said.token_type, error: said.error, nonce }
}
