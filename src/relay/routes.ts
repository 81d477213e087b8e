import { MetabindError } from '../errors.ts'
import { RefusalWithHeaders } from '../http/error-response.ts'
import type { HttpResponse } from '../http/response.ts'
import { FLEET_TOKEN_PATH, IDENTITY_PATH } from '../policy/audience.ts'
import { gate } from '../policy/gate.ts'
import type { RouteKind } from './counters.ts'
import type { JudgedRequest } from './judged-request.ts'
import {
  explainProofToCaller,
  explainToCaller,
  inspectForCaller,
  issueFleetToken,
  issueIdentityToken,
  type ProofGate,
  signProof,
  tellCaller,
  tellCredentialsUrl,
} from './own-answers.ts'
import {
  CREDENTIALS_URL_PATH,
  EXPLAIN_PREFIX,
  EXPLAIN_PROOF_PATH,
  INSPECT_PATH,
  OWN_PREFIX,
  PROOF_PATH,
  WHOAMI_PATH,
} from './own-paths.ts'
import type { RelayDeps } from './relay-deps.ts'
import { relayMetadata } from './relay-metadata.ts'
import { issueSessionToken } from './session-token.ts'

/** A judged request in, its answer out. @throws MetabindError why it is refused */
export type Respond = (request: JudgedRequest) => HttpResponse | Promise<HttpResponse>

export interface Route {
  /** A canonical path; one that ends in a slash stands for all that begin with it. */
  readonly path: string
  readonly methods: readonly string[]
  /** @throws MetabindError why this caller may not have it */
  readonly authorize: (request: JudgedRequest) => void
  readonly respond: Respond
  /** What its answers are counted as. */
  readonly kind: RouteKind
}

const READ = ['GET', 'HEAD']
const WITH_BODY = ['POST']

/** Every path that the relay answers. Of those that end in a slash the first that fits is taken. */
export function routes(deps: RelayDeps): readonly Route[] {
  const gated = { ...deps, gate: gate(deps.policy, deps.audit, deps.readers) }
  // Each of these asks for what the one above it does.
  const anyone = () => undefined
  const withToken = ({ headers: { token } }: JudgedRequest): string => {
    if (token === undefined) throw new MetabindError('TOKEN_MISSING')
    deps.requireRunning()
    return token
  }
  const withValidToken = (request: JudgedRequest) =>
    void deps.tokens.redeem(withToken(request), request.caller)
  const permitted = (request: JudgedRequest) => {
    withValidToken(request)
    gated.gate.permit(request.caller, request.target.path, request.asked?.audience)
  }
  const stillPermitted = (request: JudgedRequest) => {
    withValidToken(request)
    gated.gate.permitStill(request.caller, request.target.path, request.asked?.audience)
  }
  const proofGate: ProofGate = {
    permit: ({ caller, target }, asked) => gated.gate.permitProof(caller, asked, target.path),
    permitStill: (request, asked) => {
      withValidToken(request)
      gated.gate.permitProofStill(request.caller, asked, request.target.path)
    },
  }
  const row = (
    path: string,
    methods: readonly string[],
    authorize: Route['authorize'],
    respond: Respond,
    kind: RouteKind = 'own',
  ): Route => ({ path, methods, authorize, respond, kind })
  return [
    row(
      deps.dialect.tokenPath,
      ['PUT'],
      anyone,
      (asked) => issueSessionToken(deps, asked),
      'token',
    ),
    // The one read that a bad token does not end: it is what is asked about.
    row(INSPECT_PATH, READ, withToken, (asked) => inspectForCaller(deps, asked)),
    row(WHOAMI_PATH, READ, withValidToken, tellCaller),
    row(CREDENTIALS_URL_PATH, READ, withValidToken, (asked) => tellCredentialsUrl(deps, asked)),
    row(EXPLAIN_PREFIX, READ, withValidToken, (asked) =>
      explainToCaller(deps, asked, withValidToken),
    ),
    row(IDENTITY_PATH, READ, permitted, (asked) =>
      issueIdentityToken(gated, asked, stillPermitted),
    ),
    row(FLEET_TOKEN_PATH, READ, permitted, (asked) =>
      issueFleetToken(gated, asked, stillPermitted),
    ),
    row(PROOF_PATH, WITH_BODY, withValidToken, (asked) => signProof(deps, asked, proofGate)),
    row(EXPLAIN_PROOF_PATH, WITH_BODY, withValidToken, (asked) =>
      explainProofToCaller(deps, asked),
    ),
    row(OWN_PREFIX, READ, permitted, absent),
    row('/', READ, permitted, (asked) => relayMetadata(gated, asked, stillPermitted), 'metadata'),
  ]
}

function absent(): never {
  throw new MetabindError('METADATA_ABSENT')
}

/** @returns finds the route of a canonical path */
export function router(table: readonly Route[]): (path: string) => Route {
  const exact = new Map(
    table.filter(({ path }) => !path.endsWith('/')).map((row) => [row.path, row]),
  )
  const prefixes = table.filter(({ path }) => path.endsWith('/'))
  return (path) => {
    const route = exact.get(path) ?? prefixes.find((row) => path.startsWith(row.path))
    if (route === undefined) throw new MetabindError('INTERNAL', 'no route')
    return route
  }
}

/** Method, token, policy, answer, in this order. */
export function responder(
  routeOf: (path: string) => Route,
  { counters }: Pick<RelayDeps, 'counters'>,
): Respond {
  return (request) => {
    const route = routeOf(request.target.path)
    requireMethod(request, route)
    route.authorize(request)
    const response = route.respond(request)
    const counted = (ready: HttpResponse): HttpResponse => {
      counters.answered(route.kind, 'OK')
      return ready
    }
    return response instanceof Promise ? response.then(counted) : counted(response)
  }
}

function requireMethod({ method }: JudgedRequest, { methods }: Route): void {
  if (methods.includes(method)) return
  throw new RefusalWithHeaders('REQUEST_METHOD', { allow: methods.join(', ') })
}
