import type { Inspection } from '../admin-api.ts'
import type { Audit } from '../audit/audit.ts'
import type { Caller } from '../caller/caller.ts'
import type { MetabindError } from '../errors.ts'
import type { Federation } from '../federation/federation.ts'
import type { Identify } from '../http/admission.ts'
import type { HttpBounds } from '../http/server.ts'
import type { Metadata } from '../metadata/metadata.ts'
import type { Policy } from '../policy/policy.ts'
import type { Readers } from '../policy/readers.ts'
import type { TokenAuthority } from '../token/authority.ts'
import type { Counters } from './counters.ts'
import type { IdentityTokens } from './identity-token.ts'
import type { JudgeDeps } from './judged-request.ts'
import type { Limits } from './limits.ts'
import type { Proofs } from './proof.ts'

/** What the relay is made of. All of it is ready before the relay listens. */
export interface RelayDeps extends JudgeDeps {
  readonly tokens: TokenAuthority
  readonly metadata: Metadata
  readonly identityTokens: IdentityTokens
  /** Undefined if no registrar is configured. */
  readonly federation?: Pick<Federation, 'url' | 'tokens'> | undefined
  readonly proofs: Proofs
  readonly audit: Audit
  readonly bounds: HttpBounds
  readonly limits: Limits
  readonly counters: Counters
  readonly ttlSecondsMax: () => number
  /** The policy in force. */
  readonly policy: () => Policy
  /** Told of what each caller reads. */
  readonly readers: Readers
  /** @throws MetabindError AGENT_STOPPED while tokens are neither issued nor accepted */
  readonly requireRunning: () => void
  /** A fault of our own, once, with its cause. */
  readonly logFault: (error: MetabindError) => void
  /** How a connection's caller is found; by the Unix socket's peer if absent. */
  readonly identify?: Identify
  /** The caller's own credentials URL, if that listener is on. */
  readonly credentialsUrl?: ((caller: Caller) => string) | undefined
  /** What is said of a token to its owner. */
  readonly inspect: (token: string, caller: Caller) => Inspection
}
