import { z } from 'zod'
import { enrolmentBind, TLS_EXPORTER } from '../format/enrolment-bind.ts'
import type { PublicJwk } from '../format/public-jwk.ts'
import { TIME_MS_MAX } from './record-file.ts'
import { RegistrarDown } from './registrar-errors.ts'
import type { RegistrarHttp, RegistrarReply } from './registrar-http.ts'

/** What an enrolment is made of. */
export interface EnrolDeps {
  /** The registrar's own name. */
  readonly url: string
  readonly iid: string
  /** SK. */
  readonly key: PublicJwk
  readonly ekName: Uint8Array
  /** A connection for the requests of one enrolment. */
  readonly open: () => RegistrarHttp
  /** Evidence as JSON. @throws MetabindError TPM_…, SOURCE_NONSENSE */
  readonly evidence: (qualifier: {
    readonly nonce: Buffer
    readonly bind: Buffer
  }) => Promise<string>
  /** A challenge and its answer, as JSON. @throws MetabindError ACTIVATION_OTHER, TPM_…, VERIFY_… */
  readonly activate: (challenge: string) => Promise<string>
  /** The wall clock, for a registrar that does not say its own. */
  readonly nowMs: () => number
}

/** What the registrar says of an instance that it has taken. */
export interface Enrolled {
  /** What its tokens call the instance. */
  readonly subject: string
  /** `held`: it waits for approval, and gets no tokens. */
  readonly state: 'active' | 'held'
  readonly generation: number
  /** In milliseconds since 1970, by the registrar's clock. */
  readonly expiresAtMs: number
  /** From now on. */
  readonly lifeMs: number
}

// 16 to 64 bytes, as evidence takes them.
const nonceReply = z.looseObject({
  nonce: z.string().regex(/^(?:[0-9a-f]{2}){16,64}$/),
  channel: z.literal(TLS_EXPORTER).exactOptional(),
})
const challengeReply = z.looseObject({ challenge: z.looseObject({}) })
const enrolReply = z.looseObject({
  iid: z.string(),
  subject: z.string().regex(/^[\x21-\x7e]{1,256}$/),
  state: z.enum(['active', 'held']),
  generation: z.int().min(0),
  expiresAtMs: z.int().min(0).max(TIME_MS_MAX),
})

const JSON_TYPE = 'application/json'

/**
 * Proves to the registrar which TPM and instance this is: docs/fleet.md has the two round trips.
 *
 * @param generation the last one that the registrar gave; 0 if none is known
 * @throws MetabindError FEDERATION_DOWN, FEDERATION_REFUSED, and those of `evidence` and `activate`
 */
export async function enrol(deps: EnrolDeps, generation: number): Promise<Enrolled> {
  using http = deps.open()
  const { nonce, channel } = read(
    nonceReply,
    await http.ask({ method: 'GET', path: '/enrol/nonce' }),
  )
  const exporter = channel === undefined ? undefined : http.exporter()
  if (channel !== undefined && exporter === undefined) {
    throw new RegistrarDown('It wants its connection bound, and that is not of TLS 1.3.')
  }
  const { url, key, ekName } = deps
  const bind = enrolmentBind({ url, key, ekName, generation, exporter })
  const evidence = await deps.evidence({ nonce: Buffer.from(nonce, 'hex'), bind })
  const challenged = await http.ask(
    post('/enrol/challenge', `{"evidence":${evidence},"generation":${generation}}`),
    exporter !== undefined,
  )
  const { challenge } = read(challengeReply, challenged)
  const answer = await deps.activate(JSON.stringify(challenge))
  const reply = await http.ask(post('/enrol', `{"answer":${answer}}`))
  return enrolledBy(reply, deps)
}

function post(path: string, body: string) {
  return { method: 'POST', path, body, contentType: JSON_TYPE } as const
}

function enrolledBy(reply: RegistrarReply, { iid: own, nowMs }: EnrolDeps): Enrolled {
  const { iid, subject, state, generation, expiresAtMs } = read(enrolReply, reply)
  if (iid !== own) throw new RegistrarDown('It speaks of another instance.')
  // The difference is of its clock alone: this one may be wrong by hours.
  const lifeMs = expiresAtMs - (reply.sentAtMs ?? nowMs())
  if (lifeMs <= 0) throw new RegistrarDown('What it gave is over already.')
  return { subject, state, generation, expiresAtMs, lifeMs }
}

function read<T extends z.ZodType>(schema: T, { body }: RegistrarReply): z.output<T> {
  const parsed = schema.safeParse(body)
  if (parsed.success) return parsed.data
  throw new RegistrarDown('Its answer is none of enrolment.')
}
